"""How a testbed is made: booted, forked from a snapshot, or put on existing machines."""
