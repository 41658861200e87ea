"""Microsoft Graph's synchronizationJob and the types it is made of, member for member (graph.md §1)."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from shared.models.base import NEVER, UtcTime, WireModel

_ISO_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?=.)((?P<days>\d+)D)?"
    r"(T(?=.)((?P<hours>\d+)H)?((?P<minutes>\d+)M)?((?P<seconds>\d+)(\.(?P<fraction>\d+))?S)?)?",
    re.ASCII,
)
_PYTHON_DURATION = re.compile(
    r"((?P<days>-?\d+) days?, )?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)(\.(?P<fraction>\d+))?",
    re.ASCII,
)


def iso_duration(value: timedelta) -> str:
    """Edm.Duration of a time span in whole seconds, e.g. ``PT40M``; msgraph-sdk reads a negative one as nothing."""
    total = max(0, round(value.total_seconds()))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count)
    date = f"{days}D" if days else ""
    return f"P{date}T{clock}" if clock else f"P{date}" if date else "PT0S"


def parse_duration(value: object) -> timedelta:
    """The time span that a text means: Edm.Duration, or Python's notation, which msgraph-sdk sends (graph.md §1.14).

    A part of a second is cut to microseconds, as in times.

    Raises:
        ValueError: It means none, or one that is too long.
    """
    if isinstance(value, timedelta):
        return value
    text = value if isinstance(value, str) else ""
    found = _ISO_DURATION.fullmatch(text) or _PYTHON_DURATION.fullmatch(text)
    if found is None:
        raise ValueError("a duration is written as PT1H30M or as 1:30:00")
    given = found.groupdict()
    try:
        span = timedelta(
            **{unit: int(given[unit] or 0) for unit in ("days", "hours", "minutes", "seconds")},
            microseconds=int((given["fraction"] or "0")[:6].ljust(6, "0")),
        )
        return -span if given.get("sign") == "-" else span
    except (OverflowError, ValueError):
        raise ValueError("the duration is too long") from None


def _without_names(*patterns: re.Pattern[str]) -> str:
    """Patterns as JSON Schema takes them, any of which matches the whole text."""
    either = "|".join(re.sub(r"\?P<\w+>", "", pattern.pattern) for pattern in patterns)
    return f"^({either})$"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(iso_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _without_names(_ISO_DURATION, _PYTHON_DURATION)}),
]

_Word = TypeVar("_Word", bound=StrEnum)


def _known_word(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value[:1].upper() + value[1:] if isinstance(value, str) else value)
    except ValidationError:
        return None


Known = Annotated[_Word | None, WrapValidator(_known_word)]
"""An enum's member, or None for a word that it does not know, which msgraph-sdk reads so too (graph.md §1.14)."""


class _Readable(WireModel):
    """A type that is also read as others write it, with members that we do not know, such as ``@odata.type``."""

    model_config = ConfigDict(extra="ignore")


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


class SynchronizationSchedule(_Readable):
    """synchronizationSchedule: when runs start by themselves."""

    expiration: UtcTime | None = None
    interval: Duration
    state: Known[ScheduleState]


class SynchronizationError(_Readable):
    """synchronizationError: ``tenant_actionable`` when the tenant's administrator can repair the cause."""

    code: str | None = None
    message: str | None = None
    tenant_actionable: bool = False


class SynchronizationTaskExecution(_Readable):
    """synchronizationTaskExecution: one finished run with its counts (graph.md §3.5)."""

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
    state: Known[TaskExecutionResult]
    time_began: UtcTime = NEVER
    time_ended: UtcTime = NEVER


class SynchronizationProgress(_Readable):
    """synchronizationProgress: here one entry per part of the running run; ``units`` is the part's name."""

    completed_units: int
    total_units: int
    units: str | None = None
    progress_observation_date_time: UtcTime


class SynchronizationQuarantine(_Readable):
    """synchronizationQuarantine: why the job is held back and when it is tried again."""

    current_began: UtcTime = NEVER
    error: SynchronizationError | None = None
    next_attempt: UtcTime = NEVER
    reason: Known[QuarantineReason]
    series_began: UtcTime = NEVER
    series_count: int = 0


class StringKeyLongValuePair(_Readable):
    """stringKeyLongValuePair, as in synchronizedEntryCountByType."""

    key: str
    value: int


class KeyValuePair(_Readable):
    """keyValuePair, as in synchronizationJobSettings: its key member is called ``name``."""

    name: str
    value: str | None = None


class SynchronizationStatus(_Readable):
    """synchronizationStatus."""

    code: Known[StatusCode]
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


class SynchronizationJob(_Readable):
    """synchronizationJob."""

    id: str
    template_id: str | None = None
    schedule: SynchronizationSchedule
    status: SynchronizationStatus
    synchronization_job_settings: list[KeyValuePair] = Field(default_factory=list[KeyValuePair])
