"""The part of verdict.json about single writes."""

from __future__ import annotations

from harness.analysis.write_proof import WriteProof, rounded
from harness.reporting.verdict_part import Part


class PhaseWritesPart(Part):
    """The verified writes that were acknowledged in one phase."""

    phase: str
    acknowledged: int
    writes_proven: float
    """The share of them that is proven."""


class WritesPart(Part):
    """What is known of single writes, by all that was seen of the blocks that they went to."""

    acknowledged: int
    writes_proven: float
    """The share of them that was read after its acknowledgement and before it was overwritten."""
    writes_watched: float
    """The share of them whose blocks were never unseen for more than 2 s."""
    blind_s: float
    """The longest time for which a wrong content could have gone unseen, if it is seen over every
    path, from 5 s before each fault until 5 s after its paths are back; in a test without a fault,
    of all of it."""
    phases: tuple[PhaseWritesPart, ...]


def writes_part(proof: WriteProof | None) -> WritesPart | None:
    """None if nothing is known of single writes."""
    if proof is None:
        return None
    return WritesPart(
        acknowledged=proof.acknowledged,
        writes_proven=rounded(proof.share),
        writes_watched=rounded(proof.watched_share),
        blind_s=round(proof.blind_s, 3),
        phases=tuple(
            PhaseWritesPart(
                phase=one.phase,
                acknowledged=one.acknowledged,
                writes_proven=rounded(one.share),
            )
            for one in proof.phases
        ),
    )
