"""What readers know the layers by: the device mapper is the one that gives a path up."""

from __future__ import annotations

from harness.budget import Layer
from harness.measurements import Wording

WORDING = Wording(layers={Layer.PATH_FAILURE: "device mapper"})
