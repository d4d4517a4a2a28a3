"""What this host lends to testbeds: folders, slots, queues; and the host where QEMU runs."""
