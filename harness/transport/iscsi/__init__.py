"""Sessions by open-iscsi: its administration tool, its records, and the kernel's sysfs."""
