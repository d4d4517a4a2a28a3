"""Maps by the device mapper: multipath-tools, its daemon, and the disks that a map is made of."""
