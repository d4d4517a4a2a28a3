"""How many testbeds run at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from harness.config import Config
from harness.testbed.folder import all_folders
from harness.testbed.slots import Limit, limit_for, slot

ACCELS: tuple[Literal["kvm", "tcg"], ...] = ("tcg", "kvm")
TWO = Limit(2, "for a test")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHPROOF_STATE", str(tmp_path))


def test_there_is_no_more_room_than_allowed() -> None:
    """The third waits until one of the others is done."""
    entered = threading.Event()

    def third() -> None:
        with slot(TWO):
            entered.set()

    waiting = threading.Thread(target=third)
    with slot(TWO):
        with slot(TWO):
            waiting.start()
            assert not entered.wait(0.4)
        assert entered.wait(5)
        waiting.join()


def test_who_waits_is_not_overtaken() -> None:
    """A worker that is done with one test and goes on to the next has to queue."""
    one = Limit(1, "for a test")
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with slot(one):
            order.append("second")

    waiting = threading.Thread(target=second)
    with slot(one):
        waiting.start()
        waits.wait()
        time.sleep(0.3)  # now it does wait
    with slot(one):
        order.append("first again")
    waiting.join()
    assert order == ["second", "first again"]


def test_a_killed_process_frees_its_place() -> None:
    """The kernel does: nobody else could."""
    program = (
        "import sys, time\n"
        "from harness.testbed.slots import Limit, slot\n"
        "with slot(Limit(1, 'test')):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    began = time.monotonic()
    with slot(Limit(1, "for a test")):
        assert time.monotonic() - began < 5


def test_places_are_not_taken_for_testbeds() -> None:
    with slot(TWO):
        assert all_folders() == []


def test_the_limit_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of what cores (one for each guest) and memory allow, and never none."""
    config = Config.model_validate({"hypervisor": {"accel": "tcg"}})
    pages = {"SC_PHYS_PAGES": 24 << 18, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    with ExitStack() as cores:
        for count, expected in ((1, 1), (2, 1), (8, 4), (64, 8)):
            cores.enter_context(pytest.MonkeyPatch.context()).setattr(
                "os.sched_getaffinity", lambda _, n=count: set(range(n))
            )
            assert limit_for(config).testbeds == expected
        four_each = Config.model_validate({"machines": {"cpus": 4}, "hypervisor": {"accel": "tcg"}})
        assert limit_for(four_each).testbeds == 8
        pages["SC_PHYS_PAGES"] = 1 << 18
        assert limit_for(config).testbeds == 1


def test_kvm_needs_no_room_for_translated_code_and_has_larger_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted as they will be made: two processors and 2 GiB each, 128 MiB for QEMU itself."""
    pages = {"SC_PHYS_PAGES": 24 << 18, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    as_stated = Config.model_validate({"machines": {"cpus": 1, "memory": "768MiB"}})
    found = {
        accel: (limit_for(Config(), accel).testbeds, limit_for(as_stated, accel).testbeds)
        for accel in ACCELS
    }
    assert found == {"tcg": (8, 8), "kvm": (4, 10)}


def test_the_limit_can_be_given() -> None:
    config = Config.model_validate({"hypervisor": {"testbeds": 8}})
    assert limit_for(config) == Limit(8, "hypervisor.testbeds")
    assert str(limit_for(config)) == "8 at once (hypervisor.testbeds)"
