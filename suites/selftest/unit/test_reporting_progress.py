"""What a person sees while a run goes on, and the bill at its end."""

from __future__ import annotations

import errno
import io
import os
import re
import threading
import time

import pytest
from rich.console import Console

from harness.concurrency import side_by_side
from harness.reporting.bill import format_bill, format_pace
from harness.reporting.progress import REFRESH_S, Progress, wants_animation
from harness.steps import Bill, Spent, Step, listening, step
from harness.steps import progress as say_progress


class Written(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


@pytest.fixture
def plain() -> Progress:
    console = Console(file=io.StringIO(), width=100)
    return Progress(console, animated=False, slow_s=0.0, still_s=0.0)


def written(display: Progress) -> str:
    file = display._console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_plain_log_names_steps_down_to_the_second_level(plain: Progress) -> None:
    """One line when a step is over, with how long it took; deeper ones are silent."""
    with listening(plain), step("provisioning"), step("booting initiator"), step("waiting for SSH"):
        pass
    assert re.fullmatch(
        r"\[ +\d\.\d s\]   booting initiator … 0\.0 s\n\[ +\d\.\d s\] provisioning … 0\.0 s\n",
        written(plain),
    )


def test_a_plain_log_has_no_control_characters(plain: Progress) -> None:
    """A log file is read with a pager, not a terminal."""
    with listening(plain), step("building an image"):
        say_progress("unpacking", 0.5)
        plain.tick()
    assert "\x1b" not in written(plain)
    assert "\r" not in written(plain)


def test_a_long_step_is_announced_and_heard_of_again(plain: Progress) -> None:
    """Silence would look like a hang."""
    with listening(plain), step("building an image"):
        plain.tick()
        say_progress("unpacking linux-image", None)
        plain.tick()
    lines = written(plain).splitlines()
    assert lines[0].endswith("building an image …")
    assert lines[1].endswith("still at it after 0 s: unpacking linux-image")


def test_a_failed_step_says_so(plain: Progress) -> None:
    """With the first line of the error."""
    disk = Step("writing a disk", Spent.PROVISIONING, None)
    plain.started(disk)
    plain.finished(disk, OSError("no space left\nsecond line"))
    assert written(plain).endswith("failed: no space left\n")


def test_quick_steps_leave_no_line() -> None:
    """A log of hundreds of steps of a millisecond does not help."""
    display = Progress(Console(file=io.StringIO()), animated=False)
    with listening(display), step("quick"):
        pass
    assert written(display) == ""


def test_the_lines_of_several_workers_cannot_mix() -> None:
    """Each is written at once, names its worker, and counts from when the run began."""
    file = Written()
    console = Console(file=file, width=40)
    display = Progress(console, animated=False, slow_s=0.0, worker="gw1", began=time.time() - 75.0)
    with listening(display), step("a title that is longer than a terminal is wide"):
        pass
    warning = "no room"
    display.warned(warning)
    line = r"\[gw1   75\.\d s\] a title that is longer than a terminal is wide … 0\.0 s\n"
    assert len(file.writes) == 2
    assert re.fullmatch(line, file.writes[0])
    assert file.writes[1] == "[gw1] warning: no room\n"


def test_the_display_leaves_the_line_of_the_cursor_alone() -> None:
    """Everything is drawn below it, and wiped when nothing runs any more."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20)
    display = Progress(console, animated=True)
    with listening(display), display.showing(), step("provisioning"):
        with step("building"):
            say_progress("unpacking", 0.25)
            display.tick()
        assert "building" in written(display)
        assert "unpacking" in written(display)
    assert "\n" not in written(display)
    saves, restores = written(display).count("\x1b7"), written(display).count("\x1b8")
    assert saves == restores
    assert written(display).rindex("\x1b[J") > written(display).rindex("building")


def test_threads_may_report_while_it_draws() -> None:
    """Steps of side_by_side begin and end while the ticker runs."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=20)
    display = Progress(console, animated=True)

    def work() -> None:
        for _ in range(50):
            with step("a"), step("b"):
                display.tick()

    with listening(display), display.showing(), step("both"):
        side_by_side(work, work, work)
    assert display._running == {}


class Stuck(io.StringIO):
    """Takes no more, once, as a terminal that another program made non-blocking."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = threading.Event()

    def write(self, text: str) -> int:
        if not self.refused.is_set():
            self.refused.set()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return super().write(text)


@pytest.mark.parametrize("animated", [True, False])
def test_a_terminal_that_takes_no_more_ends_the_display_and_not_the_run(animated: bool) -> None:
    """The steps go on, one warning says it, and nothing is drawn after it."""
    stuck = Stuck()
    console = Console(file=stuck, width=100, force_terminal=animated)
    display = Progress(console, animated=animated, slow_s=0.0)
    with listening(display), display.showing(), step("booting"):
        assert stuck.refused.wait(10)
        deadline = time.monotonic() + 10
        while "warning" not in stuck.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        said = stuck.getvalue()
        time.sleep(3 * REFRESH_S)
        assert stuck.getvalue() == said
    assert said.count("warning: progress is no longer shown: [Errno 11] Resource temp") == 1


def test_a_step_ends_well_though_its_line_cannot_be_written() -> None:
    display = Progress(Console(file=Stuck(), width=100), animated=False, slow_s=0.0)
    with listening(display), step("booting"):
        pass


def test_a_defect_of_the_display_is_heard_of(
    plain: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked = threading.Event()

    def tick() -> None:
        ticked.set()
        raise TypeError("x")

    monkeypatch.setattr(plain, "tick", tick)
    with pytest.raises(TypeError), plain.showing():
        assert ticked.wait(10)


def test_only_a_person_at_a_terminal_gets_an_animation() -> None:
    """Not a file, not CI, not whoever asked for quiet."""
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    assert wants_animation(terminal, quiet=False, under_ci=False)
    assert not wants_animation(terminal, quiet=True, under_ci=False)
    assert not wants_animation(terminal, quiet=False, under_ci=True)
    assert not wants_animation(Console(file=io.StringIO()), quiet=False, under_ci=False)


def test_the_bill_names_every_kind_of_work_and_what_is_left_over() -> None:
    """Shares are of the wall clock."""
    bill = Bill()
    with listening(bill), step("x", Spent.IO):
        time.sleep(0.01)
    bill.seconds[Spent.IO] = 30.0
    bill.seconds[Spent.PROVISIONING] = 15.0
    text = format_bill(bill, 60.0)
    assert re.search(r"I/O +30\.0 s +50%  █{24}", text)
    assert re.search(r"provisioning +15\.0 s +25%  █{12}", text)
    assert re.search(r"\(outside any step\) +15\.0 s +25%", text)


def test_the_bill_says_what_the_harness_costs_on_top() -> None:
    """I/O and waiting for the storage are what tests are about."""
    bill = Bill()
    bill.seconds |= {Spent.IO: 40.0, Spent.WAITING: 10.0, Spent.PROVISIONING: 10.0}
    assert "1.20 times the 50 s in which I/O went on" in format_bill(bill, 60.0)
    assert "times the" not in format_bill(Bill(), 60.0)


def test_a_run_without_a_test_has_a_bill_too() -> None:
    """`-k` may select nothing."""
    assert format_bill(Bill(), 0.01) == "where the time went: 10 ms on the wall clock"


def test_the_bill_adds_up_where_things_were_done_side_by_side() -> None:
    """What was counted twice is taken off again."""
    bill = Bill()
    bill.seconds |= {Spent.IO: 40.0, Spent.PROVISIONING: 33.2}
    text = format_bill(bill, 60.0)
    assert re.search(r"\(side by side\) +-13\.2 s +-22%$", text, re.MULTILINE)
    assert sum(int(share) for share in re.findall(r"(-?\d+)%", text)) == 100


def test_the_bill_of_workers_is_shared_among_them() -> None:
    """Shares are of the time of all."""
    bill = Bill()
    bill.seconds[Spent.IO] = 60.0
    text = format_bill(bill, 60.0, workers=2)
    assert "60.00 s on the wall clock, for each of 2 workers" in text
    assert re.search(r"I/O +60\.0 s +50%", text)
    assert re.search(r"\(outside any step\) +60\.0 s +50%", text)


def test_the_pace_is_the_sum_of_the_tests_over_the_wall_clock() -> None:
    """What the same times would have taken one after another."""
    assert format_pace(2, 143.0, 262.0) == (
        "2 workers: 143 s for 262 s of tests, 1.83 times as fast as these one after another"
    )
    assert format_pace(1, 10.0, 9.0).startswith("1 worker: ")
