"""Decides what a client's PATCH of a job asks for; what it sends back as it was read changes nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.models.errors import BadRequest
from shared.models.job_changes import JobUpdate, StatusUpdate
from shared.models.job_settings import INTERVAL, JobSettings, valid_interval
from shared.models.jobs import TEMPLATE_ID, Job
from shared.models.synchronization import QuarantineReason, StatusCode, SynchronizationError


@dataclass(frozen=True, slots=True)
class JobChange:
    """What is asked for.

    Attributes:
        settings: The settings to change.
        quarantine: What to tell of a quarantine on demand, if one is asked for.
    """

    settings: JobSettings
    quarantine: SynchronizationError | None


def read_change(update: JobUpdate, job: Job) -> JobChange:
    """What the client asks for, against the job as it is.

    Raises:
        BadRequest: It asks for what no PATCH can change; the message names the member.
    """
    if update.id is not None and job.id is not None and update.id.lower() != job.id.lower():
        raise BadRequest("id: it is another job's.")
    refuse_other_template(update.template_id)
    settings = update.settings
    if schedule := update.schedule:
        if schedule.expiration is not None:
            raise BadRequest("schedule.expiration: a job does not expire.")
        if schedule.state not in (None, job.schedule_state):
            raise BadRequest("schedule.state: it follows from start and pause.")
        if schedule.interval is not None and schedule.interval != job.interval:
            settings = _with_interval(settings, schedule.interval, job)
    return JobChange(settings, _quarantine(update.status, job))


def refuse_other_template(template_id: str | None) -> None:
    """Refuses a template that does not exist.

    Raises:
        BadRequest: There is no such template.
    """
    if template_id is not None and template_id.lower() != TEMPLATE_ID.lower():
        raise BadRequest(f"templateId: the only template is {TEMPLATE_ID}.")


def _with_interval(settings: JobSettings, interval: timedelta, job: Job) -> JobSettings:
    if settings.interval not in (None, job.interval, interval):
        raise BadRequest(f"schedule.interval: it contradicts the setting {INTERVAL}.")
    try:
        return replace(settings, interval=valid_interval(interval))
    except ValueError as error:
        raise BadRequest(f"schedule.interval: {error}.") from None


def _quarantine(status: StatusUpdate | None, job: Job) -> SynchronizationError | None:
    if status is None or status.is_read_back or status.code in (None, job.status_code):
        return None
    if status.code is not StatusCode.QUARANTINE:
        raise BadRequest("status.code: only Quarantine can be asked for; the others follow from start and pause.")
    asked = status.quarantine
    code = QuarantineReason.QUARANTINED_ON_DEMAND
    if asked is not None and asked.reason not in (None, code):
        raise BadRequest(f"status.quarantine.reason: only {code} can be asked for.")
    told = asked.error.message if asked is not None and asked.error is not None else None
    # PostgreSQL takes no text with a NUL.
    message = (told or "").replace("\x00", "")[:1_000] or "The job is held back on demand."
    return SynchronizationError(code=code.value, message=message)
