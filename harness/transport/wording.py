"""What readers of a report know the layers by: recovery_tmo, and the device mapper."""

from __future__ import annotations

from harness.budget import Layer
from harness.measurements import Wording

WORDING = Wording(
    layers={Layer.PATH_FAILURE: "device mapper"}, short={Layer.SESSION_RECOVERY: "recovery_tmo"}
)
