"""Programs for the initiator that use parts of the reader, each in one piece with it."""

from __future__ import annotations

from importlib.resources import files

from harness.in_one_piece import joined


def sweeper() -> str:
    """The source of `sweeper.py`, for `python3 -c`."""
    reader = files("harness.workload").joinpath("reader.py").read_text()
    return joined([reader, files("harness.workload").joinpath("sweeper.py").read_text()])


def keeper() -> str:
    """The source of `keeper.py`, for `python3 -c`."""
    reader = files("harness.workload").joinpath("reader.py").read_text()
    identity = files("harness.workload").joinpath("identity.py").read_text()
    return joined([reader, identity, files("harness.workload").joinpath("keeper.py").read_text()])
