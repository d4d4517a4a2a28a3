"""Whether a LUN may be written to: never when in doubt."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import Problem
from harness.preflight import marker
from harness.preflight.consent import Answer, Asked, Contents, Scan, Signature, decide
from harness.preflight.marker import Marker, NoMarker
from harness.preflight.unmapped import Extent, continued, parse_block_size, parse_status, samples
from harness.preflight.unmapped import to_read as parts_to_read
from harness.units import GIB, MIB

WWID, OTHER = "360014057043dfe0435de773ca03bbf04", "36001405ffffffffffffffffffffffffff"
SIZE = 10 * GIB
MARK = UUID("7f0c0a1e-5f0c-4b63-9a55-6a8f2c9b6d11")
WWIDS = st.sampled_from([WWID, OTHER])
SIZES = st.sampled_from([SIZE, SIZE + 512])
MARKERS = st.builds(Marker, st.uuids(), WWIDS, SIZES)
SIGNATURES = st.builds(Signature, st.sampled_from(["ext4", "gpt", "LVM2_member"]), st.integers(0))
SCANS = st.builds(
    Scan,
    SIZES,
    read=st.sampled_from([0, SIZE // 2, SIZE]),
    unmapped=st.sampled_from([0, SIZE // 2, SIZE]),
    data_at=st.none() | st.integers(0, SIZE - 1),
    failure=st.just("") | st.just("offset 0: Input/output error"),
)
FOUND = st.builds(
    Contents,
    wwid=WWIDS,
    size=SIZES,
    marker=st.none() | MARKERS,
    signatures=st.lists(SIGNATURES, max_size=2).map(tuple),
    uses=st.just(()) | st.just((Problem("it is mounted", "umount"),)),
    scan=st.none() | SCANS,
)
ASKED = st.builds(Asked, st.none() | WWIDS, st.none() | WWIDS)
BLANK = Contents(WWID, SIZE, None, "no marker, but zeros", scan=Scan(SIZE, SIZE))
MARKED = Contents(WWID, SIZE, Marker(MARK, WWID, SIZE))
NAMED = Asked(WWID)


@given(ASKED, FOUND)
def test_nothing_is_written_when_in_doubt(asked: Asked, found: Contents) -> None:
    """A yes needs the name, no use by others, and one of the three reasons; a no says why."""
    decision = decide(asked, found)
    if not decision.answer.permits:
        assert bool(decision.problems) is (decision.answer is Answer.REFUSED)
        return
    assert asked.wwid == found.wwid
    assert not found.uses
    assert not decision.problems
    if decision.answer is Answer.ERASE:
        assert asked.erase == found.wwid
        return
    assert asked.erase is None
    assert not found.signatures
    if decision.answer is Answer.MARKED:
        assert found.marker is not None
        assert (found.marker.wwid, found.marker.size) == (found.wwid, found.size)
    else:
        assert found.scan is not None
        assert found.scan.read + found.scan.unmapped == found.scan.size == found.size
        assert found.scan.data_at is None
        assert found.scan.failure == ""


@given(ASKED, FOUND, SIGNATURES, st.sampled_from(["signature", "use", "data", "failure"]))
def test_finding_more_never_turns_a_no_into_a_yes(
    asked: Asked, found: Contents, signature: Signature, what: str
) -> None:
    """Neither a signature, nor a use, nor data, nor a failure to read."""
    assume(not decide(asked, found).answer.permits)
    more = {
        "signature": replace(found, signatures=(*found.signatures, signature)),
        "use": replace(found, uses=(*found.uses, Problem("mounted", "umount"))),
        "data": replace(found, scan=found.scan and replace(found.scan, data_at=7)),
        "failure": replace(found, scan=found.scan and replace(found.scan, failure="lost")),
    }
    assert not decide(asked, more[what]).answer.permits


@pytest.mark.parametrize(
    ("asked", "found", "answer"),
    [
        (NAMED, BLANK, Answer.BLANK),
        (NAMED, replace(BLANK, scan=Scan(SIZE, MIB, SIZE - MIB)), Answer.BLANK),
        (NAMED, replace(BLANK, scan=None), Answer.PROVE),
        (NAMED, MARKED, Answer.MARKED),
        (
            Asked(WWID, erase=WWID),
            replace(BLANK, signatures=(Signature("ext4", 1080),), scan=None),
            Answer.ERASE,
        ),
    ],
)
def test_what_is_allowed(asked: Asked, found: Contents, answer: Answer) -> None:
    """What must be read in full first is said, too."""
    assert decide(asked, found).answer is answer


@pytest.mark.parametrize(
    ("asked", "found", "says"),
    [
        (Asked(None), BLANK, f'`wwid = "{WWID}"` in [target]'),
        (Asked(WWID, region=SIZE + 1), MARKED, "has 10.0 GiB, and tests would use 10.0 GiB"),
        (Asked(OTHER), BLANK, f"the configuration names {OTHER}"),
        (Asked(WWID, erase=OTHER), MARKED, f"--erase names {OTHER}"),
        (NAMED, replace(MARKED, uses=(Problem("it is mounted", "umount"),)), "it is mounted"),
        (
            Asked(WWID, erase=WWID),
            replace(BLANK, uses=(Problem("it is mounted", "umount"),)),
            "it is mounted",
        ),
        (
            NAMED,
            replace(BLANK, signatures=(Signature("ext4", 1080, "data"),)),
            "ext4 labelled 'data' at offset 1080",
        ),
        (NAMED, replace(MARKED, signatures=(Signature("LVM2_member", 536),)), "LVM2_member"),
        (NAMED, replace(MARKED, marker=Marker(MARK, OTHER, SIZE)), "it is a copy"),
        (NAMED, replace(MARKED, marker=Marker(MARK, WWID, SIZE // 2)), "when it was marked"),
        (
            NAMED,
            replace(BLANK, scan=Scan(SIZE, MIB, data_at=4711)),
            "a byte at offset 4711 is not zero",
        ),
        (NAMED, replace(BLANK, scan=Scan(SIZE, MIB, failure="offset 7: I/O error")), "I/O error"),
        (NAMED, replace(BLANK, scan=Scan(SIZE, SIZE - 1)), "is not proven blank"),
        (NAMED, replace(BLANK, scan=Scan(MIB, MIB)), "is not proven blank"),
    ],
)
def test_what_is_refused_and_what_it_says(asked: Asked, found: Contents, says: str) -> None:
    """With what was found and what to do."""
    decision = decide(asked, found)
    assert decision.answer is Answer.REFUSED
    assert says in "\n".join(map(str, decision.problems))


@given(MARKERS)
def test_a_marker_is_read_back(one: Marker) -> None:
    """It is read as it was written."""
    block = marker.pack(one)
    assert len(block) == marker.SIZE
    assert marker.unpack(block) == one


@given(MARKERS, st.integers(0, marker.SIZE * 8 - 1))
def test_a_marker_with_one_wrong_bit_is_none(one: Marker, bit: int) -> None:
    """Wherever it is."""
    block = bytearray(marker.pack(one))
    block[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoMarker):
        marker.unpack(bytes(block))


@given(st.binary(max_size=marker.SIZE))
def test_nothing_else_is_a_marker(data: bytes) -> None:
    """Least of all zeros."""
    for block in (data, data.ljust(marker.SIZE, b"\0")):
        with pytest.raises(NoMarker):
            marker.unpack(block)


def test_a_marker_of_another_version_is_none() -> None:
    """Whoever wrote it may have meant something else."""
    block = bytearray(marker.pack(Marker(uuid4(), WWID, SIZE)))
    block[64] += 1
    with pytest.raises(NoMarker, match="damaged"):
        marker.unpack(bytes(block))


def test_a_marker_says_what_it_is_to_people() -> None:
    """To one who looks at the disk with `head`."""
    assert b"a LUN for tests" in marker.pack(Marker(MARK, WWID, SIZE)).split(b"\n")[0]


CAPACITY = """\
Read Capacity results:
   Protection: prot_en=0, p_type=0, p_i_exponent=0
   Logical block provisioning: lbpme=1, lbprz=1
   Last logical block address=20971519 (0x13fffff), Number of logical blocks=20971520
   Logical block length=512 bytes
"""


def test_a_thin_lun_is_known_by_its_capacity() -> None:
    """sg_readcap tells it. Unmapped blocks that do not read as zeros prove nothing."""
    assert parse_block_size(CAPACITY) == 512
    assert parse_block_size(CAPACITY.replace("lbprz=1", "lbprz=0")) is None
    assert parse_block_size(CAPACITY.replace("lbpme=1", "lbpme=0")) is None
    assert parse_block_size("") is None


def test_descriptors_are_understood() -> None:
    """sg_get_lba_status prints them; newer versions add a number."""
    text = "0x0000000000000000  0x800  0\n0x0000000000000800  0x3f800  1  0\nnonsense\n"
    assert parse_status(text) == [(0, 0x800, 0), (0x800, 0x3F800, 1)]


def test_a_gap_ends_what_is_believed() -> None:
    """A target that leaves something out, or begins elsewhere, says nothing of it."""
    assert continued(0, [(0, 8, 1), (8, 8, 0), (32, 8, 1)]) == 16
    assert continued(16, [(0, 8, 1)]) == 16


HOLES = st.lists(st.tuples(st.integers(0, 8 * GIB), st.integers(1, 3 * GIB)), max_size=5).map(
    lambda pairs: [(gap, size) for gap, size in pairs]
)


@given(HOLES, st.integers(0, GIB))
def test_every_byte_is_read_or_unmapped(pairs: list[tuple[int, int]], rest: int) -> None:
    """Neither left out nor counted twice, and each hole is sampled at both ends."""
    holes, position = [], 0
    for gap, size in pairs:
        holes.append(Extent(position + gap, size))
        position += gap + size
    size = position + rest
    parts = list(parts_to_read(size, holes))
    inside = [part for hole in holes for part in samples(hole)]
    unread = sum(hole.size for hole in holes) - sum(part.size for part in inside)
    assert sum(part.size for part in parts) + unread == size
    assert all(before.end <= after.offset for before, after in pairwise(parts))
    assert not parts or parts[-1].end <= size
    for hole in holes:
        own = list(samples(hole))
        assert own[0].offset == hole.offset
        assert own[-1].end == hole.end
        assert all(after.offset - before.end <= GIB for before, after in pairwise(own))
