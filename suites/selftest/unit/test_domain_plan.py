"""The machines of a testbed as data, under KVM and under emulation, and the page that explains it.

`python -m suites.selftest.unit.test_domain_plan` prints the table of docs/domain-xml.md, with the
reasons that the page has now.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from harness.config import Config
from harness.config.sizes import sized_for
from harness.guest_images.store import BuiltImage
from harness.hypervisor.domain_xml import DomainSpec, render
from harness.provision.domain_plan import Wiring, disk_cache, domain_spec
from harness.topology import Role, plan

Accel = Literal["kvm", "tcg"]

PAGE = Path(__file__).parents[3] / "docs/domain-xml.md"
IMAGE = BuiltImage("f", Path("/i/disk"), Path("/i/kernel"), Path("/i/initrd"), "root=/dev/vda", "")
SAME = "same"


def spec(
    role: Role, accel: Accel, *, direct_io: bool = True, described: Config | None = None
) -> DomainSpec:
    config = sized_for(described or Config(), accel)
    topology = plan(config)
    disks = [Path("/t/system.qcow2"), Path("/t/lun.qcow2")][: 2 if role is Role.TARGET else 1]
    wiring = Wiring({Role.TARGET: 20001, Role.INITIATOR: 20002}, {"a": 20003, "b": 20004})
    return domain_spec(
        config,
        topology,
        role,
        name=f"pathproof-{role}",
        accel=accel,
        image=IMAGE,
        disks=disks,
        wiring=wiring,
        console_log=Path("/t/console.log"),
        direct_io=direct_io,
    )


def test_switches_that_save_time_under_emulation_do_not_reach_kvm() -> None:
    emulated = set(spec(Role.TARGET, "tcg").cmdline.split())
    assert emulated - set(spec(Role.TARGET, "kvm").cmdline.split()) == {
        "mitigations=off",
        "no_timer_check",
    }


@pytest.mark.parametrize("role", list(Role))
def test_the_hypervisor_tells_each_nic_the_mtu_of_its_network(role: Role) -> None:
    """Both ends of the cable; without one it is left alone."""
    first, second = Config().networks
    jumbo = Config(networks=(first.model_copy(update={"mtu": 9000}), second))
    assert [nic.mtu for nic in spec(role, "tcg", described=jumbo).nics] == [9000, None]


def test_only_a_target_under_kvm_goes_past_the_page_cache_and_only_where_it_can() -> None:
    """A page cache that is written back late looks like a stall of the storage."""
    accels: tuple[Accel, ...] = ("tcg", "kvm")
    found = {
        (accel, role.value, direct_io): disk_cache(role, accel, direct_io=direct_io)
        for accel in accels
        for role in Role
        for direct_io in (True, False)
    }
    assert {key: cache for key, cache in found.items() if cache != "unsafe"} == {
        ("kvm", "target", True): "none",
        ("kvm", "target", False): "writeback",
    }
    assert [disk.cache for disk in spec(Role.TARGET, "kvm").disks] == ["none", "none"]
    assert [disk.cache for disk in spec(Role.INITIATOR, "kvm").disks] == ["unsafe"]


def test_the_page_has_every_line_of_the_domain_under_both_with_its_reason() -> None:
    """`python -m suites.selftest.unit.test_domain_plan` prints the table anew."""
    rows = list(page_rows())
    assert [(tcg, kvm) for tcg, kvm, _ in rows] == list(lines_side_by_side())
    assert [tcg or kvm for tcg, kvm, reason in rows if not reason] == []


def lines_side_by_side() -> Iterator[tuple[str, str]]:
    """Each line of the target's domain under TCG and under KVM; SAME where they do not differ.

    Lines of the same element are side by side; names that differ from testbed to testbed are cut.
    """
    tcg, kvm = lines(render(spec(Role.TARGET, "tcg"))), lines(render(spec(Role.TARGET, "kvm")))
    tags, others = ([re.split("[ >]", line)[0] for line in side] for side in (tcg, kvm))
    matcher = difflib.SequenceMatcher(None, tags, others, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        left, right = tcg[i1:i2], kvm[j1:j2]
        if tag == "equal":
            yield from ((a, SAME if a == b else b) for a, b in zip(left, right, strict=True))
        else:
            yield from ((line, "") for line in left)
            yield from (("", line) for line in right)


def lines(xml: str) -> list[str]:
    """Closing tags say nothing new."""
    cut = re.sub(r"(?<=52:54:00:)[0-9a-f:]{8}|(?<=<uuid>)[^<]+", "…", xml)
    return [line.strip() for line in cut.splitlines() if not line.strip().startswith("</")]


def page_rows() -> Iterator[tuple[str, str, str]]:
    """``| `<vcpu …>` | `<vcpu …>` | reason |``"""
    for line in PAGE.read_text().splitlines() if PAGE.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and re.search("`<|^$", cells[0]):
            tcg, kvm, reason = cells
            yield tcg.strip("`"), kvm.strip("`"), reason


def _table() -> Iterator[str]:
    known = {(tcg, kvm): reason for tcg, kvm, reason in page_rows()}
    for tcg, kvm in lines_side_by_side():
        left = f"`{tcg}`" if tcg else ""
        right = kvm if kvm in ("", SAME) else f"`{kvm}`"
        yield f"| {left} | {right} | {known.get((tcg, kvm), '')} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in _table())
