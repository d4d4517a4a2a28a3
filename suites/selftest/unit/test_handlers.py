"""Preflight: a map that names a device handler, and what the kernel has attached to its paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.profiles import FAST
from harness.errors import InitiatorError, PreflightFailed
from harness.lacking import Lacking
from harness.preflight import require_fit, run
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.devices import SURVEY_SCRIPT
from harness.transport.fitness.handlers import Handlers, look_at_handlers, parse_handlers
from harness.transport.fitness.look import facts_now
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
ATTACHED = (RECORDED / "pathproof-handlers-linux-6.1.txt").read_text()
CLOUD = (RECORDED / "pathproof-handlers-linux-6.1-cloud.txt").read_text()
WWID = "36001405f00000000000000000000000f"
BOTH = {"sda": "alua", "sdb": "alua"}


def test_a_kernel_with_handlers_shows_them() -> None:
    """Debian's generic kernel."""
    assert parse_handlers(ATTACHED) == Handlers("alua", BOTH)
    assert parse_handlers(ATTACHED).problems() == []
    assert parse_handlers(ATTACHED).lacking == ()


def test_a_kernel_without_handlers_is_caught_though_the_map_names_one() -> None:
    """Debian's cloud kernel, where `multipath -ll` says hwhandler='1 alua' all the same."""
    seen = parse_handlers(CLOUD)
    assert seen == Handlers("alua", {"sda": "", "sdb": ""})
    (problem,) = seen.problems()
    assert "the kernel has no device handlers (sda, sdb)" in problem.cause
    assert "linux-image-amd64" in problem.cure
    assert seen.lacking == (Lacking("handler", problem.cause, problem.cure),)


@pytest.mark.parametrize(
    ("attached", "cause", "cure"),
    [
        (
            {"sda": "alua", "sdb": "detached"},
            "names the handler alua, and no handler is attached to sdb",
            "`modprobe scsi_dh_alua; echo alua >/sys/block/sdb/device/dh_state`",
        ),
        ({"sda": "rdac", "sdb": "alua"}, "rdac is attached to sda", 'hardware_handler "1 rdac"'),
    ],
)
def test_each_mismatch_has_cause_and_cure(attached: dict[str, str], cause: str, cure: str) -> None:
    """The disks it concerns, and no others."""
    (problem,) = Handlers("alua", attached).problems()
    assert cause in problem.cause
    assert cure in problem.cure


@pytest.mark.parametrize("state", ["", "detached", "alua"])
def test_a_map_that_names_no_handler_asks_for_none(state: str) -> None:
    """As with IET and tgt."""
    text = f"table|0 8 multipath 0 0 1 1 service-time 0 1 2 8:0 1 1\ndisk|sda|{state}\n"
    assert parse_handlers(text) == Handlers("", {"sda": state})
    assert parse_handlers(text).problems() == []


@given(
    features=st.lists(st.sampled_from(["queue_if_no_path", "pg_init_retries", "50"])),
    arguments=st.lists(st.sampled_from(["1", "alua"])),
)
def test_features_and_arguments_are_not_taken_for_the_handler(
    features: list[str], arguments: list[str]
) -> None:
    """Each list begins with its length."""
    told = " ".join([str(len(features)), *features, str(1 + len(arguments)), "emc", *arguments])
    table = f"table|0 8 multipath {told} 1 1 service-time 0 1 2 8:0 1 1\n"
    assert parse_handlers(table).named == "emc"


@pytest.mark.parametrize(
    "text", ["", "table|0 8 linear 8:0 0\n", "table|0 8 multipath 1\n", "table|\ndisk|sda|alua\n"]
)
def test_what_is_no_table_is_not_taken_for_one_without_a_handler(text: str) -> None:
    """A look that failed must not pass for a map that names none."""
    with pytest.raises(InitiatorError, match="not the table of"):
        parse_handlers(text)


def initiator(looks: str, config: str = "{}") -> IscsiInitiator:
    """One whose sessions and map are as planned, and whose handlers are these."""
    topology = plan(Config.model_validate_json(config))
    sessions = [
        f"session{n}|{topology.target_iqn}|LOGGED_IN|{path.portal.portal.address}|3260|default|1|1|1"
        f"|{path.link.address}|{disk}|8:{16 * n}|naa.{WWID[1:]}"
        for n, (disk, path) in enumerate(zip(("sda", "sdb"), topology.paths, strict=True))
    ]
    devices = [f"device|{disk}|8:{n}|1||||{WWID}||" for disk, n in (("sda", 0), ("sdb", 16))]
    devices.append(f"device|dm-0|253:0|1|sda sdb|{WWID}|mpath-{WWID}|||")

    def answer(asked: Asked) -> Answer:
        if asked.argv[0] == "multipathd":
            return Answer('{"maps": []}')
        if "dmsetup" in asked.argv[2]:
            assert asked.argv[-3:] == (WWID, "sda", "sdb")
            return Answer(looks)
        assert SURVEY_SCRIPT in asked.argv[2]
        return Answer("\n".join([*sessions, "--", *devices]) + "\n== logins\n")

    described = Config.model_validate_json(config)
    grouping = described.initiator.path_grouping_policy
    return IscsiInitiator(ScriptedMachine(answer), topology, FAST, (WWID,), None, grouping)


BY_PRIORITY = '{"initiator": {"path_grouping_policy": "group_by_prio"}}'


@pytest.mark.parametrize(
    "config",
    [
        BY_PRIORITY,
        """{"controllers": [{"name": "c1"}, {"name": "c2", "access_state": "non-optimized"}],
            "networks": [
            {"name": "a", "subnet": "172.16.0.0/24", "initiator": "172.16.0.101",
             "portals": [{"address": "172.16.0.1", "controller": "c1"}]},
            {"name": "b", "subnet": "172.16.1.0/24", "initiator": "172.16.1.101",
             "portals": [{"address": "172.16.1.1", "controller": "c2"}]}]}""",
    ],
)
def test_preferred_paths_without_a_handler_end_the_run(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report about ALUA must not be believed where the kernel has none."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 0.0)
    attached = initiator(ATTACHED, config)
    require_fit(attached)
    assert facts_now(attached).handlers == {WWID: Handlers("alua", BOTH)}
    with pytest.raises(PreflightFailed, match="the kernel has no device handlers"):
        require_fit(initiator(CLOUD, config))


def test_a_run_that_is_not_about_access_states_goes_on_and_says_so() -> None:
    """It is degraded."""
    (lacking,) = require_fit(initiator(CLOUD)).lacking
    assert lacking.name == "handler"
    assert require_fit(initiator(ATTACHED)).lacking == ()


def test_the_look_is_one_command() -> None:
    """The names reach the shell as they are."""
    machine = ScriptedMachine(lambda _: Answer(ATTACHED))
    look_at_handlers(machine, "a b", ["sda"])
    (asked,) = machine.asked
    assert asked.argv[-2:] == ("a b", "sda")
