"""Objects and deletions that wait: what is shown of them."""

from __future__ import annotations

from shared.models.base import UtcTime, WireModel
from shared.models.parts import PartName
from shared.models.synchronization import SynchronizationError

UNIDENTIFIED = "unidentified-"
"""Begins the key of an escrow whose object has no usable id; Graph cannot be asked for it."""


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
