"""How a testbed is made: booted, forked from a snapshot, or put on existing machines."""

# What decides on the state of a testbed, beside its configuration: part of a snapshot's key.
SHAPING = (
    *("host", "hypervisor", "machine", "observe", "transport"),
    *("preflight", "provision", "target", "testbed", "workload"),
    "topology",
)
