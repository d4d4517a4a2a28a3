"""What a person sees while a run goes on, and the bill at its end."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from harness.concurrency import side_by_side
from harness.reporting.bill import format_bill
from harness.reporting.progress import Progress, wants_animation
from harness.steps import Bill, Spent, Step, listening, step
from harness.steps import progress as say_progress


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
    """A log of hundreds of steps of a millisecond helps nobody."""
    display = Progress(Console(file=io.StringIO()), animated=False)
    with listening(display), step("quick"):
        pass
    assert written(display) == ""


def test_pytest_is_asked_for_a_fresh_line_first() -> None:
    """Its dots stay on a line of their own."""
    asked: list[str] = []
    display = Progress(
        Console(file=io.StringIO()),
        animated=False,
        before_line=lambda: asked.append(""),
        slow_s=0.0,
    )
    with listening(display), step("x"):
        pass
    assert asked == [""]


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
