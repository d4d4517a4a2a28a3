"""What a testbed's target can do, as each LUN tells over each path."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import InitiatorError
from harness.steps import Spent, attach, step
from harness.target import Capabilities
from harness.testbed.testbed import Testbed
from harness.transport import Features, transport_for


def probe(testbed: Testbed) -> dict[str, dict[str, Features]]:
    """Each LUN's features over each path, by the names of both."""
    transport = transport_for(testbed.config)
    features: dict[str, dict[str, Features]] = {}
    with step("Ask each LUN what it can do", Spent.MEASURING):
        for one in testbed.maps:
            for path in one.attachment.paths():
                argv = transport.features_argv(path.disk)
                said = testbed.machine(one.machine).run(argv).stdout
                attach(f"features of {one.name} over path {path}", said)
                features.setdefault(one.name, {})[path.path] = transport.parse_features(said)
    return features


def capabilities_of(testbed: Testbed) -> Capabilities:
    """What tests may require: known for each kind of VM, asked of an external target.

    Raises InitiatorError if an external target's LUNs, or the paths of one, contradict each other.
    Whether it wants CHAP is known by its credentials; nothing else tells.
    """
    config = testbed.config.target
    if config.kind != "external":
        return testbed.target.capabilities
    seen: dict[Capabilities, list[str]] = {}
    for lun, paths in probe(testbed).items():
        for path, features in paths.items():
            seen.setdefault(seen_in(features), []).append(f"{lun} over {path}")
    if len(seen) != 1:
        told = "; ".join(f"{', '.join(where)}: {one}" for one, where in seen.items())
        raise InitiatorError(f"the LUNs or paths report different capabilities: {told}")
    (of_all,) = seen
    chap = config.chap
    return replace(
        of_all,
        chap=chap is not None,
        mutual_chap=chap is not None and chap.outgoing is not None,
    )


def seen_in(features: Features) -> Capabilities:
    """Those that a LUN itself can tell of."""
    return Capabilities(
        alua=features.alua,
        persistent_reservations=features.persistent_reservations,
        unmap=features.unmap,
        compare_and_write=features.compare_and_write,
    )
