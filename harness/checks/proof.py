"""How far writes are proven, as figures; and what is not proven well enough."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.write_proof import LONGEST_BLIND_S, ROUND_A_FAULT_S, WriteProof
from harness.measurements import WriteHistory

LEAST_PROVEN = 0.999


def percent(share: float) -> str:
    """Never 100 % unless it is all."""
    return "100 %" if share == 1 else f"{min(share, 0.9999) * 100:.2f} %"


def proof_figures(proof: WriteProof) -> dict[str, str]:
    """As the report shows them."""
    by_phase = {
        f"writes proven, phase {phase.phase!r}": f"{phase.proven} of {phase.acknowledged}"
        for phase in proof.phases
    }
    return {
        "writes proven": f"{proof.proven} of {proof.acknowledged} ({percent(proof.share)})",
        **by_phase,
        f"blind time in the {ROUND_A_FAULT_S:g} s round each fault": f"{proof.blind_s:.2f} s",
        "writes under watch": f"{proof.watched} of {proof.acknowledged} "
        f"({percent(proof.watched_share)})",
        "looks at blocks": str(proof.looks),
    }


def proof_numbers(proof: WriteProof) -> dict[str, float]:
    """For calculations; shares are of the writes that were acknowledged."""
    return {
        "writes_acknowledged": proof.acknowledged,
        "writes_proven": round(proof.share, 6),
        "least_proven_of_a_phase": round(proof.least_share, 6),
        "writes_watched": round(proof.watched_share, 6),
        "blind_s": round(proof.blind_s, 3),
    }


def unproven(proof: WriteProof, history: WriteHistory | None) -> Iterator[str]:
    """What keeps the writes from being proven well enough; nothing if they are."""
    if history is not None and history.failure:
        yield history.failure
    elif history is not None and not history.swept:
        yield "nobody looked at the blocks while they were written"
    for phase in proof.phases:
        if phase.share < LEAST_PROVEN:
            yield (
                f"only {phase.proven} of {phase.acknowledged} writes acknowledged in phase "
                f"{phase.phase!r} are proven ({percent(phase.share)}, wanted 99.9 %)"
            )
    if proof.blind_s > LONGEST_BLIND_S:
        yield (
            f"a wrong content could have gone unseen for {proof.blind_s:.1f} s, "
            f"more than {LONGEST_BLIND_S:g} s"
        )
