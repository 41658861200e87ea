"""The arithmetic of quarantine: when a job is held back, when it is tried again, when it is given up. Pure.

As Microsoft Entra does (graph.md §3.4): again 6, 12 and 24 hours after the first failure, then daily; after 28 days
the job is disabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.models.jobs import Quarantine
from shared.models.runs import PartRun, RunStatus
from shared.models.synchronization import QuarantineReason, SynchronizationError

_FIRST_ATTEMPTS = (timedelta(hours=6), timedelta(hours=12), timedelta(hours=24))
_DAY = timedelta(days=1)
GIVEN_UP_AFTER = timedelta(days=28)

CREDENTIAL_CODES = frozenset({"EncounteredCredentialError", "CredentialUnavailable", "InvalidAuthenticationToken"})
"""Codes of errors that say that the organization does not let us in at all."""


def reason_to_quarantine(parts: Sequence[PartRun]) -> tuple[QuarantineReason, SynchronizationError] | None:
    """Whether the parts of a finished run are a reason: credentials that are refused, or every part's permission."""
    errors = [part.error for part in parts if part.status is RunStatus.FAILED and part.error is not None]
    for error in errors:
        if error.code in CREDENTIAL_CODES:
            return QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION, error
    if len(errors) == len(parts) and all(error.tenant_actionable for error in errors):
        return QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION, errors[0]
    return None


def impose(
    before: Quarantine | None, reason: QuarantineReason, error: SynchronizationError, now: datetime
) -> Quarantine:
    """The quarantine after a run that is a reason for it; a series goes on until a run works."""
    if before is None:
        return Quarantine(reason, error, now, now, 0, now + _FIRST_ATTEMPTS[0])
    return replace(
        before,
        reason=reason,
        error=error,
        current_began=now,
        series_count=before.series_count + 1,
        next_attempt=_next_attempt(before.series_began, now),
    )


def is_given_up(quarantine: Quarantine, now: datetime) -> bool:
    """Whether the job has been in quarantine for so long that it is disabled."""
    return now - quarantine.series_began > GIVEN_UP_AFTER


def _next_attempt(series_began: datetime, now: datetime) -> datetime:
    for wait in _FIRST_ATTEMPTS:
        if series_began + wait > now:
            return series_began + wait
    return now + _DAY
