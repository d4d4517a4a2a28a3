"""Command-line options that override single values of the configuration; the same everywhere."""

from __future__ import annotations

from typing import NamedTuple

from harness.config.ready import topology_names


class Override(NamedTuple):
    """An option, the dotted key whose value it replaces, and what it says of itself.

    `in_files` is False for a key that only the option can set.
    """

    option: str
    key: str
    text: str
    in_files: bool = True

    @property
    def help(self) -> str:
        """What `--help` says, without a full stop."""
        return f"{self.text} (overrides {self.key})" if self.in_files else self.text


OVERRIDES = (
    Override("--hypervisor-uri", "hypervisor.uri", "'embedded' or any libvirt URI"),
    Override("--accel", "hypervisor.accel", "auto, kvm or tcg"),
    Override("--fork", "hypervisor.fork", "true, or false to boot each testbed cold"),
    Override(
        "--require",
        "require",
        "what the run may not do without, such as forks,kvm,report: tried before the first test, "
        "and an error if it is not to be had",
    ),
    Override(
        "--measure-again",
        "measure_again",
        "how often a test whose verdict is unknown is run again, each time on a new testbed, "
        "before that counts: 1 if nothing is said, 0 for never",
    ),
    Override("--testbeds", "hypervisor.testbeds", "how many run at once: a number, or auto"),
    Override("--image", "machines.image", "image definition: a name in images/ or a path"),
    Override("--mirror", "machines.mirror", "package mirror for image builds"),
    Override(
        "--topology",
        "topology",
        f"a ready topology: {', '.join(topology_names())}",
    ),
    Override("--target", "target.kind", "lio, tgt, iet or external"),
    Override("--credentials", "target.credentials", "file with CHAP secrets, readable by you only"),
    Override(
        "--erase",
        "target.erase",
        "WWID of an external LUN whose data may be lost, this once",
        in_files=False,
    ),
    Override("--backstore", "target.backstore", "fileio or block"),
    Override("--profile", "initiator.profile", "timeouts: fast, stock, or one of your own"),
    Override(
        "--second-look",
        "workload.second_look_s",
        "seconds after which all is read back once more, so that what arrives late is seen",
    ),
    Override("--max-stall", "budget.max_stall_s", "longest stall accepted at all, in seconds"),
)
