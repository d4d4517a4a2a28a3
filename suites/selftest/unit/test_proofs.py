"""What several initiators have to show before a test may write."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import InitiatorError
from harness.lacking import Lacking
from harness.preflight import End
from harness.testbed import proofs
from harness.testbed.map_view import MapView
from harness.topology import PlannedMap, plan
from harness.transport import PathDisk

CONFIG = Config.model_validate(ready_topologies()["two-initiators"])
TWO = plan(CONFIG)
LACKING = Lacking("handler", "it is not attached", "attach it")


def test_each_initiator_passes_the_preflight_and_the_targets_end_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What any of them does without is told once."""
    looked: dict[str, list[str]] = {}
    masked: dict[str, object] = {}

    def require_fit(initiator: Any, *, ends: list[End], masking: object) -> Any:
        looked[initiator] = [end.name for end in ends]
        masked[initiator] = masking
        return SimpleNamespace(lacking=(LACKING,))

    monkeypatch.setattr(proofs, "require_fit", require_fit)
    monkeypatch.setattr(proofs, "masking_for", lambda name, _: f"of {name}")
    ends = {one.name: End(one.name, cast(Any, None), {}) for one in TWO.machines}
    initiators: Any = {name: name for name in TWO.initiators}
    assert proofs.require_all_fit(initiators, cast(Any, None), ends) == (LACKING,)
    assert looked == {"initiator": ["target", "initiator"], "second": ["second"]}
    assert masked == {"initiator": "of initiator", "second": "of second"}


def view(planned: PlannedMap, digests: dict[str, int]) -> MapView:
    """Of a map with two paths, on a machine that reads these of its disks."""
    number = 2 * planned.lun.number
    paths = [PathDisk(path, f"sd{'abcdef'[number + n]}", "") for n, path in enumerate("ab")]
    observer: Any = SimpleNamespace(
        read_directly=lambda disks, _: {disk: digests[disk] for disk in disks}
    )
    return MapView(observer, planned, cast(Any, None), paths, lambda: None)


def test_all_paths_of_a_map_must_read_the_same_data() -> None:
    """On each machine for itself: disks of one name on two machines are two disks."""
    same = {"sda": 1, "sdb": 1, "sdc": 2, "sdd": 2, "sde": 3, "sdf": 3}
    other = same | {"sdf": 4}
    first = [view(one, same) for one in TWO.maps if one.machine == "initiator"]
    proofs.require_same_data(first)
    second = [view(one, other) for one in TWO.maps if one.machine == "second"]
    with pytest.raises(InitiatorError, match="sde, sdf of initiator second read different data"):
        proofs.require_same_data([*first, *second])
