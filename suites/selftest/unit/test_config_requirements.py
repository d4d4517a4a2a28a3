"""What a run requires: KVM and forks, and where neither can be required."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.selftest.unit.config_file import complaint, loaded, networks


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("said", "required"),
    [
        ('"forks,report"', ("forks", "report")),
        ('"kvm , kvm"', ("kvm",)),
        ('["report", "kvm"]', ("report", "kvm")),
        ("[]", ()),
        ('"nothing"', ()),
    ],
)
def test_requirements_are_a_list_or_words_with_commas(said: str, required: tuple[str, ...]) -> None:
    """In a file; an option has only words."""
    assert loaded(f"require = {said}").config.require == required


def test_an_unknown_requirement_is_refused_with_those_that_are_known() -> None:
    """Whether it came from a file or from an option."""
    known = (
        "what can: forks, kvm, report, several with a comma between them, such as "
        "'forks,report', or 'nothing'"
    )
    assert complaint('require = ["forks", "speed"]') == (
        f"own.toml: require: 'speed' cannot be required; {known}"
    )
    assert complaint("", require=("fork", "--require")).startswith(
        "--require: 'fork' cannot be required; what can: forks, kvm, report, "
    )
    assert complaint("require = 3").startswith("own.toml: require: ")


EXTERNAL_ARRAY = (
    ('require = ["forks"]\n[target]\nkind = "external"\n' + networks())
    .replace('initiator = "10.1.0.2"', 'initiator = "10.1.0.2"\nbridge = "x"')
    .replace('initiator = "10.2.0.2"', 'initiator = "10.2.0.2"\nbridge = "y"')
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('require = ["forks"]\n[hypervisor]\nfork = false', "hypervisor.fork is false"),
        (EXTERNAL_ARRAY, "the target is external, and its LUN cannot be forked"),
        (
            'require = ["forks"]\n[hypervisor]\nuri = "qemu:///system"',
            "qemu:///system is shared, and forks of one machine have one name and one UUID",
        ),
    ],
    ids=["switched off", "external", "shared libvirt"],
)
def test_forks_cannot_be_required_where_there_are_none_by_nature(text: str, reason: str) -> None:
    """The reason is named before anything is done."""
    assert complaint(text) == (f"own.toml: require: there are no forks with this testbed: {reason}")


def test_forks_cannot_be_required_with_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which a snapshot would keep."""
    monkeypatch.setenv("PATHPROOF_CHAP_USER", "user")
    monkeypatch.setenv("PATHPROOF_CHAP_SECRET", "a-secret-of-16-b")
    assert "a snapshot would keep the CHAP secrets" in complaint('require = "forks"')


EXISTING_INITIATOR = """
[target]
kind = "external"
[initiator]
machine = "local"
[hypervisor]
"""


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ('[hypervisor]\naccel = "tcg"', "hypervisor.accel is 'tcg'"),
        (
            '[hypervisor]\nuri = "qemu+ssh://root@lab-7/system"',
            "KVM cannot be tried on lab-7; write hypervisor.accel = 'kvm' if it works there",
        ),
        (
            EXISTING_INITIATOR,
            "the initiator is an existing machine, and no VM is made",
        ),
    ],
    ids=["emulation", "another host", "existing initiator"],
)
def test_kvm_cannot_be_required_where_it_is_not_tried(rest: str, reason: str) -> None:
    """The reason is named before anything is done."""
    assert complaint(f'require = "kvm"\n{rest}') == (
        f"own.toml: require: KVM cannot be required of this testbed: {reason}"
    )


def test_kvm_of_another_host_may_be_required_if_its_owner_vouches_for_it() -> None:
    """`accel = "kvm"` says so."""
    text = 'require = "kvm"\n[hypervisor]\nuri = "qemu+ssh://lab-7/system"\naccel = "kvm"'
    assert loaded(text).config.require == ("kvm",)
