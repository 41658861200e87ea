"""What a comparison of the cache's numbers with Graph's means, and which groups' members are compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import blake2b
from heapq import nsmallest

from shared.models.parity import Parity


class Verdict(StrEnum):
    """What is to be done about a part."""

    LEAVE = "leave"
    """Nothing: the numbers are equal, or it is known why they differ."""
    LOOK_AGAIN = "lookAgain"
    """Read what changed and count again later: a difference may be mere lag, Graph's counts lag too."""
    HEAL = "heal"
    """Read the part in full: neither time nor an incremental run has removed the difference."""


def judge(found: Parity, before: Parity | None, *, explained: int) -> Verdict:
    """What a comparison means.

    Args:
        found: What was found now.
        before: What the first look found, when this is the second one. A difference in the other direction is another
            one, which the next night looks at.
        explained: By how much the numbers may differ because objects are waiting, as escrows or as deletions that are
            held back: a full run would not change that.
    """
    if abs(found.drift) <= explained:
        return Verdict.LEAVE
    if before is None:
        return Verdict.LOOK_AGAIN
    return Verdict.HEAL if found.drift * before.drift > 0 else Verdict.LEAVE


def sample(ids: Iterable[str], size: int, seed: str) -> Sequence[str]:
    """At most ``size`` of the ids, chosen at random by the seed: the same ones again when others come and go."""
    return nsmallest(size, ids, key=lambda text: blake2b(f"{seed} {text}".encode(), digest_size=8).digest())
