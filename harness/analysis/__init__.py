"""Pure readings of measurements: stall, recovery, breakdown, throughput, what the kernel said."""
