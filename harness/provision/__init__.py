"""How a testbed is made: booted, forked from a snapshot, or put on existing machines."""

# What decides on the state of a testbed, beside its configuration: part of a snapshot's key.
SHAPING = (
    *("host", "hypervisor", "initiator", "machine", "observe"),
    *("preflight", "provision", "target", "testbed", "workload"),
    "topology",
)
