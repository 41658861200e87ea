"""Objects that could not be written: what is kept of them, and when they are tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.models.base import UtcTime, WireModel
from shared.models.parts import PartName
from shared.models.synchronization import SynchronizationError

UNIDENTIFIED = "unidentified-"
"""Begins the key of an escrow whose object has no usable id; Graph cannot be asked for it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long an object that failed is left alone: the wait doubles with every failure (graph.md §3.2).

    Attributes:
        first: The wait after the first failure.
        longest: The wait that is not exceeded.
    """

    first: timedelta
    longest: timedelta

    def next_attempt(self, failures: int, now: datetime) -> datetime:
        """When an object that has failed this often is tried again."""
        # Beyond some doublings every wait is the longest one, and timedelta would overflow.
        return now + min(self.first * 2 ** min(failures - 1, 30), self.longest)


class EscrowEntity(WireModel):
    """An escrow as ``/organizations/{id}/escrows`` lists it; the object's raw form stays in the database."""

    part: PartName
    object_id: str
    error: SynchronizationError
    failures: int
    first_failed_date_time: UtcTime
    last_failed_date_time: UtcTime
    next_attempt_date_time: UtcTime


class HeldDeletionEntity(WireModel):
    """A deletion that waits, as ``/organizations/{id}/heldDeletions`` lists it.

    Attributes:
        reason: ``changed`` and ``deleted`` as Graph's ``@removed`` gives them, ``absent`` when a complete listing did
            not name the object, ``outOfScope`` when it does not belong to the part any more, ``absentLink`` for a
            link that was not named; ``object_id`` then is its relation and the ids of its ends, separated by slashes.
        approved: Whether a restart with ForceDeletes asked for it to be carried out.
    """

    part: PartName
    object_id: str
    display_name: str | None
    reason: str
    held_date_time: UtcTime
    approved: bool
