"""What a testbed's target can do, as its LUN tells over each path."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import InitiatorError
from harness.initiator.features import FEATURES_SCRIPT, Features, parse_features
from harness.steps import Spent, attach, step
from harness.target import Capabilities
from harness.testbed.testbed import Testbed
from harness.topology import Role


def probe(testbed: Testbed) -> dict[str, Features]:
    """The LUN's features over each path, by its name."""
    initiator = testbed.machine(Role.INITIATOR)
    features = {}
    with step("Ask the LUN what it can do", Spent.MEASURING):
        for path in testbed.map.attachment.paths():
            argv = ["sh", "-c", FEATURES_SCRIPT, "sh", f"/dev/{path.disk}"]
            said = initiator.run(argv).stdout
            attach(f"features over path {path}", said)
            features[path.path] = parse_features(said)
    return features


def capabilities_of(testbed: Testbed) -> Capabilities:
    """What tests may require: known for each kind of VM, asked of an external target.

    Raises InitiatorError if an external target's paths contradict each other. Whether it wants
    CHAP is known by its credentials; nothing else tells.
    """
    config = testbed.config.target
    if config.kind != "external":
        return testbed.target.capabilities
    seen = {seen_in(features) for features in probe(testbed).values()}
    if len(seen) != 1:
        raise InitiatorError(f"the paths report different capabilities: {seen}")
    chap = config.chap
    return replace(
        seen.pop(),
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
