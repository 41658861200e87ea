"""Microsoft Graph's synchronizationJob and the types it is made of, member for member (graph.md §1)."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainSerializer

from shared.models.base import NEVER, UtcTime, WireModel


def iso_duration(value: timedelta) -> str:
    """Edm.Duration of a time span in whole seconds, e.g. ``PT40M``; msgraph-sdk reads a negative one as nothing."""
    total = max(0, round(value.total_seconds()))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count)
    date = f"{days}D" if days else ""
    return f"P{date}T{clock}" if clock else f"P{date}" if date else "PT0S"


Duration = Annotated[timedelta, PlainSerializer(iso_duration, return_type=str, when_used="json")]


class ScheduleState(StrEnum):
    """synchronizationScheduleState."""

    ACTIVE = "Active"
    DISABLED = "Disabled"
    PAUSED = "Paused"


class StatusCode(StrEnum):
    """synchronizationStatusCode."""

    NOT_CONFIGURED = "NotConfigured"
    NOT_RUN = "NotRun"
    ACTIVE = "Active"
    PAUSED = "Paused"
    QUARANTINE = "Quarantine"


class TaskExecutionResult(StrEnum):
    """synchronizationTaskExecutionResult: the type of the member ``state`` (graph.md §1.5)."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ENTRY_LEVEL_ERRORS = "EntryLevelErrors"


class QuarantineReason(StrEnum):
    """quarantineReason."""

    ENCOUNTERED_BASE_ESCROW_THRESHOLD = "EncounteredBaseEscrowThreshold"
    ENCOUNTERED_TOTAL_ESCROW_THRESHOLD = "EncounteredTotalEscrowThreshold"
    ENCOUNTERED_ESCROW_PROPORTION_THRESHOLD = "EncounteredEscrowProportionThreshold"
    ENCOUNTERED_QUARANTINE_EXCEPTION = "EncounteredQuarantineException"
    UNKNOWN = "Unknown"
    QUARANTINED_ON_DEMAND = "QuarantinedOnDemand"
    TOO_MANY_DELETES = "TooManyDeletes"
    INGESTION_INTERRUPTED = "IngestionInterrupted"


class SynchronizationSchedule(WireModel):
    """synchronizationSchedule: when runs start by themselves."""

    expiration: UtcTime | None = None
    interval: Duration
    state: ScheduleState


class SynchronizationError(WireModel):
    """synchronizationError: ``tenant_actionable`` when the tenant's administrator can repair the cause."""

    code: str | None = None
    message: str | None = None
    tenant_actionable: bool = False


class SynchronizationTaskExecution(WireModel):
    """synchronizationTaskExecution: one finished run. The counts are defined in graph.md §3.5."""

    activity_identifier: str | None = None
    count_entitled: int = 0
    count_entitled_for_provisioning: int = 0
    count_escrowed: int = 0
    count_escrowed_raw: int = 0
    count_exported: int = 0
    count_exports: int = 0
    count_imported: int = 0
    count_imported_deltas: int = 0
    count_imported_reference_deltas: int = 0
    error: SynchronizationError | None = None
    state: TaskExecutionResult
    time_began: UtcTime = NEVER
    time_ended: UtcTime = NEVER


class SynchronizationProgress(WireModel):
    """synchronizationProgress: here one entry per part of the running run; ``units`` is the part's name."""

    completed_units: int
    total_units: int
    units: str | None = None
    progress_observation_date_time: UtcTime


class SynchronizationQuarantine(WireModel):
    """synchronizationQuarantine: why the job is held back and when it is tried again."""

    current_began: UtcTime = NEVER
    error: SynchronizationError | None = None
    next_attempt: UtcTime = NEVER
    reason: QuarantineReason
    series_began: UtcTime = NEVER
    series_count: int = 0


class StringKeyLongValuePair(WireModel):
    """stringKeyLongValuePair, as in synchronizedEntryCountByType."""

    key: str
    value: int


class KeyValuePair(WireModel):
    """keyValuePair, as in synchronizationJobSettings: its key member is called ``name``."""

    name: str
    value: str | None = None


class SynchronizationStatus(WireModel):
    """synchronizationStatus."""

    code: StatusCode
    count_successive_complete_failures: int = 0
    escrows_pruned: bool = False
    last_execution: SynchronizationTaskExecution | None = None
    last_successful_execution: SynchronizationTaskExecution | None = None
    last_successful_execution_with_exports: SynchronizationTaskExecution | None = None
    progress: list[SynchronizationProgress] = Field(default_factory=list[SynchronizationProgress])
    quarantine: SynchronizationQuarantine | None = None
    steady_state_first_achieved_time: UtcTime = NEVER
    steady_state_last_achieved_time: UtcTime = NEVER
    synchronized_entry_count_by_type: list[StringKeyLongValuePair] = Field(default_factory=list[StringKeyLongValuePair])
    troubleshooting_url: str | None = None


class SynchronizationJob(WireModel):
    """synchronizationJob."""

    id: str
    template_id: str | None = None
    schedule: SynchronizationSchedule
    status: SynchronizationStatus
    synchronization_job_settings: list[KeyValuePair] = Field(default_factory=list[KeyValuePair])
