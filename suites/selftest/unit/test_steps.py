"""Telling what is being done, and where the time went."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import steps as module
from harness.concurrency import side_by_side
from harness.steps import (
    Attachment,
    Bill,
    Listener,
    Spent,
    Step,
    attach,
    listening,
    progress,
    step,
)


class Diary(Listener):
    """Writes down all that it is told."""

    def __init__(self, name: str = "", pages: list[str] | None = None) -> None:
        self.name = name
        self.pages = [] if pages is None else pages
        self.attachments: list[tuple[Step | None, Attachment]] = []

    def started(self, step: Step) -> None:
        self.pages.append(f"{self.name}started {step.title}")

    def progressed(self, step: Step, message: str, fraction: float | None) -> None:
        self.pages.append(f"{self.name}{step.title}: {message} {fraction}")

    def attached(self, step: Step | None, attachment: Attachment) -> None:
        self.attachments.append((step, attachment))

    def finished(self, step: Step, error: BaseException | None) -> None:
        self.pages.append(f"{self.name}finished {step.title} {error!r}")


@dataclass
class Clock:
    """Stands in for the time module and goes only as far as it is moved."""

    now: float = 0

    def monotonic(self) -> float:
        return self.now


# What a step is for, how long its own work takes, and the steps inside it.
Plan = tuple[Spent, int, list["Plan"]]
seconds = st.integers(0, 1000)
plans: st.SearchStrategy[Plan] = st.recursive(
    st.tuples(st.sampled_from(Spent), seconds, st.just([])),
    lambda inner: st.tuples(st.sampled_from(Spent), seconds, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@pytest.fixture
def diary() -> Iterator[Diary]:
    """A listener that listens during the test."""
    diary = Diary()
    with listening(diary):
        yield diary


def test_a_step_is_told_when_it_starts_and_when_it_ends(diary: Diary) -> None:
    """Inner steps between the two."""
    with step("boot"), step("wait for SSH"):
        pass
    assert diary.pages == [
        "started boot",
        "started wait for SSH",
        "finished wait for SSH None",
        "finished boot None",
    ]


def test_a_step_that_fails_says_by_what_and_lets_it_pass(diary: Diary) -> None:
    """Also by what is not an Exception, such as Ctrl-C."""
    with pytest.raises(KeyboardInterrupt), step("boot"):
        raise KeyboardInterrupt
    assert diary.pages[-1] == "finished boot KeyboardInterrupt()"


def test_after_a_failure_the_next_step_is_not_inside_it() -> None:
    """The failed step is over."""
    with pytest.raises(OSError, match="gone"), step("first"):
        raise OSError("gone")
    with step("second") as second:
        assert second.parent is None


def test_a_step_knows_the_step_around_it() -> None:
    """Siblings have the same one."""
    with step("outer") as outer:
        with step("first") as first:
            pass
        with step("second") as second:
            pass
    assert (outer.parent, first.parent, second.parent) == (None, outer, outer)
    assert outer.number < first.number < second.number


def test_time_goes_where_the_parents_goes_unless_said_otherwise() -> None:
    """A poll inside provisioning is provisioning."""
    with step("boot", Spent.PROVISIONING):
        with step("wait") as inherited:
            pass
        with step("read back", Spent.IO) as own:
            pass
    with step("alone") as alone:
        pass
    assert inherited.spent_on is Spent.PROVISIONING
    assert own.spent_on is Spent.IO
    assert alone.spent_on is Spent.PROVISIONING


def test_progress_belongs_to_the_innermost_step(diary: Diary) -> None:
    """With a fraction where one is known."""
    with step("image"):
        progress("unpacking")
        with step("mkfs"):
            progress("writing", 0.5)
    assert "image: unpacking None" in diary.pages
    assert "mkfs: writing 0.5" in diary.pages


def test_progress_outside_any_step_is_silent(diary: Diary) -> None:
    """There is nothing that it could be the progress of."""
    progress("lost in thought")
    assert diary.pages == []


def test_evidence_is_left_in_the_step_that_found_it(diary: Diary) -> None:
    """It may also be left outside any. Text becomes UTF-8, bytes stay as they are."""
    with step("judge") as judge:
        attach("verdict", "Prüfung ✓")
    attach("picture", b"\x89PNG", "image/png")
    assert diary.attachments == [
        (judge, Attachment("verdict", "Prüfung ✓".encode(), "text/plain")),
        (None, Attachment("picture", b"\x89PNG", "image/png")),
    ]


def test_evidence_that_is_not_quite_text_is_not_lost(diary: Diary) -> None:
    """A kernel log may hold bytes that were no UTF-8 and became surrogates."""
    attach("dmesg", "broken \udcff byte")
    assert diary.attachments[0][1].content == b"broken ? byte"


def test_a_listener_is_not_told_after_the_listening_ends() -> None:
    """Also when it ended with an error."""
    diary = Diary()
    with pytest.raises(OSError, match="x"), listening(diary):
        raise OSError("x")
    with step("unheard"):
        pass
    assert diary.pages == []


def test_listeners_are_left_in_the_reverse_order() -> None:
    """They nest as context managers do."""
    pages: list[str] = []
    with listening(Diary("a ", pages)), listening(Diary("b ", pages)), step("s"):
        pass
    assert pages == ["a started s", "b started s", "b finished s None", "a finished s None"]


def test_a_listener_may_come_and_leave_while_a_step_runs() -> None:
    """It is told neither of the start nor of the end; others are."""
    early, late = Diary(), Diary()
    with listening(late), step("s"), listening(early):
        pass
    assert early.pages == []
    assert late.pages == ["started s", "finished s None"]


def spend(plan: Plan, parent: Step | None, clock: Clock, bill: Bill) -> None:
    """Do as `plan` says, first the step's own work and then the steps inside it."""
    kind, own_s, inside = plan
    this = Step("planned", kind, parent, started_at=clock.now)
    clock.now += own_s
    for inner in inside:
        spend(inner, this, clock, bill)
    bill.finished(this, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until it is moved."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_bill_counts_each_second_once(clock: Clock) -> None:
    """A step is billed for its own time, without that of the steps inside it."""
    bill = Bill()
    wait: Plan = (Spent.WAITING, 100, [])
    boot: Plan = (Spent.PROVISIONING, 10, [wait])
    spend((Spent.CONFIGURATION, 1, [boot, boot]), None, clock, bill)
    assert bill.seconds == {
        Spent.TURN: 0,
        Spent.CONFIGURATION: 1,
        Spent.PROVISIONING: 20,
        Spent.WAITING: 200,
        Spent.IO: 0,
        Spent.MEASURING: 0,
        Spent.JUDGING: 0,
        Spent.REPORTING: 0,
    }


@given(plans)
def test_the_bill_of_steps_one_inside_another_adds_up_to_the_wall_clock(plan: Plan) -> None:
    """Whatever their shape: nothing is billed twice, nothing is lost."""
    bill, clock = Bill(), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        spend(plan, None, clock, bill)
    assert sum(bill.seconds.values()) == clock.now


def test_the_bill_also_counts_what_failed(clock: Clock) -> None:
    """Time is spent whether or not it was worth it."""
    bill = Bill()
    bill.finished(Step("boot", Spent.PROVISIONING, None, started_at=clock.now - 7), OSError("no"))
    assert bill.seconds[Spent.PROVISIONING] == 7


def test_the_bill_of_steps_side_by_side_never_goes_below_zero() -> None:
    """Children in threads may add up to more than the step around them took."""
    bill = Bill()

    def work() -> None:
        with step("half", Spent.IO):
            pass

    with listening(bill), step("both", Spent.WAITING):
        side_by_side(work, work, work)
    assert all(seconds >= 0 for seconds in bill.seconds.values())
    assert bill.seconds[Spent.IO] > 0
