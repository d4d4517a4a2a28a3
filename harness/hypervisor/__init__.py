"""The libvirt end: connections, domains, disks and ports. Nothing else imports libvirt.

Above it are the testbed, which composes guests and cables, and the doctor; below it are the
vocabulary and the configuration.
"""
