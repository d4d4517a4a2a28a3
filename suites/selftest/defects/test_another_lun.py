"""A path that comes back as another LUN: its portal's group leads elsewhere by then."""

from __future__ import annotations

import pytest

from harness.testbed import Testbed
from harness.topology import Role
from harness.units import MIB
from suites.selftest.defects.plants import assert_detected, first_link_down, lose_a_path
from suites.selftest.defects.served import BACKING_FILE, OTHER, OTHER_FILE, second_disk, serve

# $1 is the target's IQN, $2 the disk by its name. Ends the sessions of the first group, lets LUN 0
# lead to that disk for all of its initiators, and prints the disk that it leads to by then.
# configfs takes the end of a link from the root, or from the working directory.
_LEAD_ELSEWHERE = """
cd /sys/kernel/config/target/iscsi/"$1"/tpgt_1
echo 0 >enable
for lun in acls/*/lun_0 lun/lun_0; do
  find "$lun" -maxdepth 1 -type l -exec rm {} ';'
  rmdir "$lun"
done
mkdir lun/lun_0
ln -s /sys/kernel/config/target/core/*/"$2" lun/lun_0/planted
for acl in acls/*; do
  mkdir "$acl"/lun_0
  ln -s "$PWD"/lun/lun_0 "$acl"/lun_0/planted
done
echo 1 >enable
cat lun/lun_0/planted/udev_path
"""
_LARGER = 64 * MIB


@pytest.mark.parametrize(
    ("plant", "of", "by", "says"),
    [
        (
            "a path that comes back as another LUN",
            "another serial",
            "paths restored",
            "another LUN than before: ",
        ),
        (
            "a path that comes back larger than it was",
            "another size",
            "paths restored",
            "another LUN than before: ",
        ),
        (
            "a path that comes back as a copy of the LUN",
            "a copy",
            "data intact",
            " lost",
        ),
    ],
    ids=["serial", "size", "copy"],
)
def test_a_path_that_comes_back_as_another_lun(
    testbed: Testbed, seed: int, plant: str, of: str, by: str, says: str
) -> None:
    """The array has mapped another volume there during the outage, under the same number."""
    if len(testbed.topology.portals) < 2:
        pytest.skip("needs two portals")
    lun = testbed.topology.luns[0]
    changes: dict[str, object] = {}
    if of == "another serial":
        changes["wwn"] = lun.serial[::-1]
        assert changes["wwn"] != lun.serial
    elif of == "another size":
        changes["size"] = lun.size + _LARGER
    serve(testbed, second_disk(testbed, **changes))
    target, leads_to = testbed.machine(Role.TARGET), []

    def map_another() -> None:
        if of == "a copy":
            target.run(["cp", "--sparse=always", BACKING_FILE, OTHER_FILE], timeout_s=120)
        argv = ["sh", "-euc", _LEAD_ELSEWHERE, "sh", testbed.topology.target_iqn, OTHER]
        leads_to.append(target.run(argv).stdout.strip())

    measured = lose_a_path(testbed, seed, first_link_down(testbed), during=map_another)
    assert leads_to == [OTHER_FILE]
    assert_detected(plant, measured, by=by, fails=says)
