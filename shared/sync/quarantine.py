"""The arithmetic of quarantine: when a job is held back, when it is tried again, when it is given up. Pure.

As Microsoft Entra does (graph.md §3.4): at once when credentials or consent are missing, by the number and proportion
of objects that fail, and when too many deletions are due; again 6, 12 and 24 hours after the first failure, then daily;
after 28 days the job is disabled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.models.jobs import Quarantine
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Run, RunStatus, conclusive
from shared.models.synchronization import QuarantineReason, SynchronizationError
from shared.settings import Settings

Cause = tuple[QuarantineReason, SynchronizationError]

TOO_MANY_DELETES = QuarantineReason.TOO_MANY_DELETES.value
"""The code of the error of a part whose deletions are held back."""

CREDENTIAL_CODES = frozenset({"EncounteredCredentialError", "CredentialUnavailable"})
"""Codes of errors that say that the organization gives us no token."""
TOKEN_CODES = frozenset({"InvalidAuthenticationToken", "unauthenticated"})
"""Codes with which a service refuses a token; where another took the same, that service is what is wrong."""


ESCROW_REASONS = frozenset(
    {
        QuarantineReason.ENCOUNTERED_BASE_ESCROW_THRESHOLD,
        QuarantineReason.ENCOUNTERED_TOTAL_ESCROW_THRESHOLD,
        QuarantineReason.ENCOUNTERED_ESCROW_PROPORTION_THRESHOLD,
    }
)


@dataclass(frozen=True, slots=True)
class QuarantineRules:
    """The numbers that the arithmetic works with.

    Attributes:
        proportion_from: Objects that must have failed in a run before their proportion counts.
        proportion: Failed objects among those received that are too many.
        base_escrows: Escrows that are not too many, those of links not counted.
        total_escrows: Escrows that are not too many, those of links counted.
        attempts: The times after the series began at which a run is tried again; the last one is repeated.
        given_up_after: How long a job may be in quarantine.
    """

    proportion_from: int = 5_000
    proportion: float = 0.4
    base_escrows: int = 40_000
    total_escrows: int = 60_000
    attempts: tuple[timedelta, ...] = (timedelta(hours=6), timedelta(hours=12), timedelta(hours=24))
    given_up_after: timedelta = timedelta(days=28)

    @classmethod
    def of(cls, settings: Settings) -> QuarantineRules:
        """The rules that the app settings give."""
        return cls(
            proportion_from=settings.quarantine_proportion_from,
            proportion=settings.quarantine_proportion,
            base_escrows=settings.quarantine_base_escrows,
            total_escrows=settings.quarantine_total_escrows,
            attempts=tuple(timedelta(hours=hours) for hours in settings.quarantine_retry_hours),
            given_up_after=timedelta(days=settings.quarantine_days),
        )


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left of an organization's parts when a run ends.

    Attributes:
        escrows: How many objects of each part wait for a retry, from earlier runs too.
        enabled: The parts that are switched on.
        unread: Of these, the ones that still have to be read in full.
        deletions_held: Whether deletions wait for approval still, perhaps those of a part that failed.
    """

    escrows: Mapping[PartName, int]
    enabled: Collection[PartName]
    unread: Collection[PartName] = ()
    deletions_held: bool = False

    def is_all_of(self, run: Run) -> bool:
        """Whether the run was one of all parts that are switched on."""
        return {part.part for part in run.parts} >= set(self.enabled)


def reason_to_quarantine(run: Run, backlog: Backlog, rules: QuarantineRules) -> Cause | None:
    """Whether a finished run is a reason to hold the job back."""
    parts = conclusive(run.parts)
    errors = [part.error for part in parts if part.status is RunStatus.FAILED and part.error is not None]
    for error in errors:
        if error.code in CREDENTIAL_CODES or (error.code in TOKEN_CODES and len(errors) == len(parts)):
            return QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION, error
    all_failed = len(errors) == len(parts) and backlog.is_all_of(run)
    if all_failed and all(error.tenant_actionable for error in errors):
        return QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION, errors[0]
    for part in run.parts:
        if part.error is not None and part.error.code == TOO_MANY_DELETES:
            return QuarantineReason.TOO_MANY_DELETES, part.error
    return _too_many_escrows(run, backlog.escrows, rules)


def _too_many_escrows(run: Run, escrows: Mapping[PartName, int], rules: QuarantineRules) -> Cause | None:
    total = sum(escrows.values())
    base = sum(number for name, number in escrows.items() if CATALOGUE[name].keeps_objects)
    failed, received = run.counts.escrowed, run.counts.imported
    if total > rules.total_escrows:
        reason, told = QuarantineReason.ENCOUNTERED_TOTAL_ESCROW_THRESHOLD, f"{total} objects and groups of links"
    elif base > rules.base_escrows:
        reason, told = QuarantineReason.ENCOUNTERED_BASE_ESCROW_THRESHOLD, f"{base} objects"
    elif failed >= rules.proportion_from and failed > rules.proportion * received:
        reason, told = (
            QuarantineReason.ENCOUNTERED_ESCROW_PROPORTION_THRESHOLD,
            f"{failed} of the {received} objects that the run received",
        )
    else:
        return None
    return reason, SynchronizationError(
        code=reason.value, message=f"{told} could not be read or written; see the escrows."
    )


def impose(before: Quarantine | None, cause: Cause, now: datetime, rules: QuarantineRules) -> Quarantine:
    """The quarantine after a run that is a reason for it; a series goes on until a run works."""
    reason, error = cause
    if before is None:
        return Quarantine(reason, error, now, now, 0, now + rules.attempts[0])
    return replace(
        before,
        reason=reason,
        error=error,
        current_began=now,
        series_count=before.series_count + 1,
        next_attempt=_next_attempt(before.series_began, now, rules),
    )


def is_given_up(quarantine: Quarantine, now: datetime, rules: QuarantineRules) -> bool:
    """Whether the job has been in quarantine for so long that it is disabled."""
    return now - quarantine.series_began > rules.given_up_after


def _next_attempt(series_began: datetime, now: datetime, rules: QuarantineRules) -> datetime:
    for wait in rules.attempts:
        if series_began + wait > now:
            return series_began + wait
    return now + rules.attempts[-1]
