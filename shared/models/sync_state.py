"""An organization's synchronization state in the shape that users of Get-VBOOrganizationSynchronizationState know.

The members up to ``error`` are the cmdlet's; the others come from its later builds (veeam.md §1.2).
"""

from __future__ import annotations

from enum import StrEnum

from shared.models.base import UtcTime, WireModel
from shared.models.runs import RunType


class SyncStatus(StrEnum):
    """The last finished run's outcome."""

    NONE = "None"
    SUCCESS = "Success"
    ERROR = "Error"


class CurrentStatus(StrEnum):
    """What is under way."""

    QUEUED = "Queued"
    RUNNING = "Running"


class CurrentSyncState(WireModel):
    """A run that is queued or running."""

    status: CurrentStatus
    type: RunType
    scheduled_time: UtcTime | None
    start_time: UtcTime | None


class LastSyncState(WireModel):
    """How a part's last finished run ended."""

    sync_status: SyncStatus
    type: RunType
    start_time: UtcTime | None
    end_time: UtcTime | None
    error: str


class PartParity(WireModel):
    """How many objects Graph counted and the cache held; ``drift`` is how many the cache had too many, or lacked."""

    checked_date_time: UtcTime
    expected: int
    cached: int
    drift: int


class PartSyncState(WireModel):
    """One part's state; ``parity`` is null until the part was compared."""

    last_state: LastSyncState | None
    current_state: CurrentSyncState | None
    last_successful_sync_time: UtcTime | None
    parity: PartParity | None


class OrganizationSyncState(WireModel):
    """The organization's state; ``last_sync_time`` is when the last finished run started."""

    organization: str
    sync_status: SyncStatus
    type: RunType | None
    last_sync_time: UtcTime | None
    error: str
    current_state: CurrentSyncState | None
    parts: dict[str, PartSyncState | None]
