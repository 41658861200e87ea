"""Slices: the queue message that asks for one, and the work that is taken with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.models.base import WireModel
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.models.runs import RunType
from shared.models.synchronization import SynchronizationError

WITHOUT_DELTA = "withoutDelta"
"""In place of a cursor: the listing was complete, but Graph offers no delta query behind it; the next one is full."""


class SliceMessage(WireModel):
    """A message on the queue ``sync-slices``.

    Attributes:
        organization_key: The organization's number in the cache database.
        fence: The part's fencing number when the message was sent; a message that is delivered twice carries an
            outdated one the second time and is dropped.
    """

    organization_key: int
    activity_identifier: str
    part: PartName
    fence: int


class Stage(StrEnum):
    """How far a part's run has come; each stage can be interrupted after any transaction."""

    LISTING = "listing"
    """Pages of the delta query."""
    RETRIES = "retries"
    """Incremental runs only: objects that failed in earlier runs, read again one by one."""
    DELETED_ITEMS = "deletedItems"
    """Full runs only: the soft-deleted objects, which the delta query need not name."""
    APPLY_LIVE = "applyLive"
    """Full runs only: what was received beside the visible cache is applied, page by page; sweepLive follows."""
    APPLY_ALL = "applyAll"
    """As applyLive; sweepAll follows."""
    SWEEP_LIVE = "sweepLive"
    """Full runs only: live objects that the complete listing did not name join the deletions that wait."""
    SWEEP_ALL = "sweepAll"
    """As sweepLive, and for soft-deleted objects: their listing was complete too."""
    DELETIONS = "deletions"
    """The deletions that wait are carried out, unless they are too many."""
    HOLD_LINKS = "holdLinks"
    """Full runs only, in place of sweepLinks: so many links were not named that they wait for approval."""
    SWEEP_LINKS = "sweepLinks"
    """Full runs only: tombstones for links that the complete listing did not name."""
    CLEANUP = "cleanup"
    """The notes on what was seen are thrown away."""

    @property
    def asks_graph(self) -> bool:
        """Whether the stage needs Graph, and so has to wait when Graph asks for it."""
        return self in (Stage.LISTING, Stage.RETRIES, Stage.DELETED_ITEMS)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part's work under a lease.

    Attributes:
        cursor: Where the stage goes on: a Graph link while reading, a key while sweeping; None at a stage's start.
        delta_link: The cursor behind the complete listing, once it is complete.
        generation: The part's run number; rows and notes on what was seen carry it.
        attempts: Slices in a row, this one included, since the part last got on.
        fence: Grows with every lease; a worker whose number is outdated cannot write.
        total: Objects expected, when Graph told.
        last_error: What ended the slice before this one, if anything did.
        rebuild: Whether every row is written again, whatever the cache takes it for.
        beside: Whether what a full run receives is put aside until its listing is complete: readers have an earlier
            complete listing, and a run that is aborted leaves no trace in it.
        staged: Objects received that have been put aside.
        checkpoint: What ``next_checkpoint`` remembers of the links of the listing under way.
    """

    organization: Organization
    run_id: str
    part: Part
    type: RunType
    stage: Stage
    cursor: str | None
    delta_link: str | None
    generation: int
    attempts: int
    fence: int
    total: int | None
    started_at: datetime
    last_error: SynchronizationError | None = None
    rebuild: bool = False
    beside: bool = False
    staged: int = 0
    checkpoint: str | None = None

    @property
    def is_first_listing(self) -> bool:
        """Whether nothing of the part was ever listed, or begun to be listed, before."""
        return self.type is RunType.FULL and self.generation == 1


class StaleSlice(Exception):
    """Another worker has the lease, or the run is over: nothing may be written any more."""
