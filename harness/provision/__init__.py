"""How a testbed is made: booted, forked from a snapshot, or put on existing machines."""

# What decides on the state of a testbed: part of a snapshot's key, as the configuration itself is.
# The code in `config` derives values from it, such as the IQNs of further initiators.
SHAPING = (
    *("config", "host", "hypervisor", "machine", "observe", "transport"),
    *("preflight", "provision", "target", "testbed", "workload"),
    "topology",
)
