"""The arithmetic of quarantine at its limits, and what a part's end means (graph.md §3.3, §3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cache.escrows import EscrowCounts
from shared.models.jobs import Job, Quarantine
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Counts, PartRun, Run, RunStatus, RunType
from shared.models.synchronization import QuarantineReason, ScheduleState, StatusCode, SynchronizationError
from shared.settings import Settings
from shared.sync.outcome import job_after_run, part_outcome, prunes_escrows, run_error, run_status, total
from shared.sync.quarantine import (
    CREDENTIAL_CODES,
    ESCROW_REASONS,
    TOKEN_CODES,
    TOO_MANY_DELETES,
    Backlog,
    QuarantineRules,
    impose,
    is_given_up,
    reason_to_quarantine,
)

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
GOOD, ESCROWED, BAD = RunStatus.SUCCEEDED, RunStatus.ENTRY_LEVEL_ERRORS, RunStatus.FAILED
BASE = QuarantineReason.ENCOUNTERED_BASE_ESCROW_THRESHOLD
TOTAL = QuarantineReason.ENCOUNTERED_TOTAL_ESCROW_THRESHOLD
PROPORTION = QuarantineReason.ENCOUNTERED_ESCROW_PROPORTION_THRESHOLD
EXCEPTION = QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION
RULES = QuarantineRules()
NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
JOB = Job(
    "job", ScheduleState.ACTIVE, timedelta(minutes=40), StatusCode.ACTIVE, last_run="x", initial_run_pending=False
)


def error(code: str, *, actionable: bool = False) -> SynchronizationError:
    return SynchronizationError(code=code, message=f"{code}!", tenant_actionable=actionable)


def part(
    name: PartName = USERS,
    status: RunStatus = GOOD,
    told: SynchronizationError | None = None,
    *,
    received: int = 0,
    failed: int = 0,
) -> PartRun:
    counts = Counts(imported=received, escrowed=failed, escrowed_raw=failed)
    return PartRun(name, RunType.FULL, status, received, None, counts, NOW, NOW, told)


def run(*parts: PartRun) -> Run:
    """A finished run of these parts."""
    return Run(
        "run", "contoso.com", RunType.FULL, run_status(parts), NOW, NOW, NOW, run_error(parts), total(parts), parts
    )


def backlog(*parts: PartRun, escrows: Mapping[PartName, int] | None = None, **more: Any) -> Backlog:
    """What is left of an organization of which these parts are switched on."""
    return Backlog(escrows or {}, **{"enabled": [part.part for part in parts], **more})


def reason(
    *parts: PartRun, escrows: Mapping[PartName, int] | None = None, rules: QuarantineRules = RULES
) -> QuarantineReason | None:
    parts = parts or (part(),)
    cause = reason_to_quarantine(run(*parts), backlog(*parts, escrows=escrows), rules)
    return cause[0] if cause else None


# --- How many escrows are too many --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "received", "expected"),
    [
        (4_999, 4_999, None),
        (4_999, 12_000, None),
        (5_000, 12_500, None),
        (5_000, 12_499, PROPORTION),
        (5_000, 5_000, PROPORTION),
        (5_001, 12_500, PROPORTION),
        (5_001, 12_503, None),
        (40_000, 100_000, None),
        (40_000, 99_999, PROPORTION),
        (0, 0, None),
    ],
)
def test_from_5000_failures_on_more_than_40_percent_are_too_many(
    failed: int, received: int, expected: QuarantineReason | None
) -> None:
    assert reason(part(received=received, failed=failed), escrows={USERS: failed}) is expected


def test_the_proportion_is_that_of_the_run_and_not_of_a_part() -> None:
    bad = part(USERS, received=5_000, failed=5_000)
    assert reason(bad, part(SITES, received=7_499)) is PROPORTION
    assert reason(bad, part(SITES, received=7_500)) is None


def test_what_failed_in_earlier_runs_is_not_part_of_the_proportion() -> None:
    assert reason(part(received=10), escrows={USERS: 30_000}) is None


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if entry.keeps_objects])
def test_more_than_40000_escrows_of_objects_are_too_many_whenever_they_failed(name: PartName) -> None:
    assert reason(escrows={name: 40_000}) is None
    assert reason(escrows={name: 40_001}) is BASE


def test_escrows_of_objects_add_up_over_the_parts() -> None:
    assert reason(escrows={USERS: 20_000, GROUPS: 10_000, SITES: 9_000, TEAMS: 1_000}) is None
    assert reason(escrows={USERS: 20_000, GROUPS: 10_000, SITES: 9_000, TEAMS: 1_001}) is BASE


def test_escrows_of_links_count_towards_the_total_alone() -> None:
    assert reason(escrows={MEMBERS: 60_000}) is None
    assert reason(escrows={MEMBERS: 60_001}) is TOTAL
    assert reason(escrows={USERS: 40_000, MEMBERS: 20_000}) is None
    assert reason(escrows={USERS: 40_000, MEMBERS: 20_001}) is TOTAL


def test_the_error_says_how_many_there_are_and_its_code_is_the_reason() -> None:
    for escrows, number in (({USERS: 40_001}, "40001"), ({MEMBERS: 70_000}, "70000")):
        cause = reason_to_quarantine(run(part()), backlog(part(), escrows=escrows), RULES)
        assert cause is not None
        assert cause[1].code == cause[0].value
        assert number in (cause[1].message or "")


@given(
    st.dictionaries(st.sampled_from(PartName), st.integers(0, 70_000)), st.integers(0, 70_000), st.integers(0, 200_000)
)
def test_more_escrows_never_make_a_quarantine_less_needed(
    escrows: dict[PartName, int], failed: int, received: int
) -> None:
    one = part(received=received, failed=failed)
    if reason(one, escrows=escrows) is not None:
        assert reason(one, escrows={**escrows, USERS: escrows.get(USERS, 0) + 1}) is not None
        assert reason(part(received=received, failed=failed + 1), escrows=escrows) is not None


def test_the_app_settings_give_the_rules() -> None:
    settings = Settings(
        quarantine_proportion_from=1,
        quarantine_proportion=0.5,
        quarantine_base_escrows=2,
        quarantine_total_escrows=3,
        quarantine_retry_hours=(1, 2),
        quarantine_days=4,
    )
    rules = QuarantineRules.of(settings)
    assert rules == QuarantineRules(1, 0.5, 2, 3, (timedelta(hours=1), timedelta(hours=2)), timedelta(days=4))
    assert reason(escrows={USERS: 2}, rules=rules) is None
    assert reason(escrows={USERS: 3}, rules=rules) is BASE
    assert reason(escrows={USERS: 2, MEMBERS: 2}, rules=rules) is TOTAL
    assert reason(part(received=2, failed=1), rules=rules) is None
    assert reason(part(received=3, failed=2), rules=rules) is PROPORTION
    assert QuarantineRules.of(Settings()) == RULES


# --- Other reasons, and which of them is told ---------------------------------------------------------------------

HELD_BACK = part(USERS, ESCROWED, error(TOO_MANY_DELETES, actionable=True))


@pytest.mark.parametrize("code", sorted(CREDENTIAL_CODES))
def test_one_part_that_is_refused_the_credential_is_reason_enough(code: str) -> None:
    refused = part(USERS, BAD, error(code, actionable=True))
    cause = reason_to_quarantine(run(refused, part(GROUPS)), backlog(refused, part(GROUPS)), RULES)
    assert cause == (EXCEPTION, refused.error)


@pytest.mark.parametrize("code", sorted(TOKEN_CODES))
def test_a_token_that_one_service_refuses_and_another_takes_is_no_reason(code: str) -> None:
    refused = error(code, actionable=True)
    assert reason(part(USERS, BAD, refused), part(GROUPS)) is None
    assert reason(part(USERS, BAD, refused), part(GROUPS, BAD, error("serviceNotAvailable"))) is EXCEPTION


def test_a_missing_permission_is_a_reason_when_no_part_works() -> None:
    denied = error("Authorization_RequestDenied", actionable=True)
    assert reason(part(USERS, BAD, denied), part(GROUPS)) is None
    assert reason(part(USERS, BAD, denied), part(GROUPS, BAD, denied)) is EXCEPTION
    assert reason(part(USERS, BAD, denied), part(GROUPS, BAD, error("serviceNotAvailable"))) is None


def test_a_run_of_some_parts_says_nothing_of_the_others() -> None:
    denied = part(USERS, BAD, error("Authorization_RequestDenied", actionable=True))
    of_some = Backlog({}, enabled=[USERS, GROUPS])
    assert reason_to_quarantine(run(denied), of_some, RULES) is None
    job = job_after_run(replace(JOB, successive_complete_failures=2), run(denied), of_some, RULES, NOW)
    assert (job.successive_complete_failures, job.quarantine) == (2, None)


def test_deletions_that_are_held_back_in_one_part_are_a_reason() -> None:
    assert reason(HELD_BACK, part(GROUPS)) is QuarantineReason.TOO_MANY_DELETES
    assert reason(part(USERS, ESCROWED, error("EntryLevelErrors"))) is None


def test_credentials_come_before_deletions_and_those_before_escrows() -> None:
    refused = part(GROUPS, BAD, error("EncounteredCredentialError", actionable=True))
    many = {USERS: 70_000}
    assert reason(HELD_BACK, refused, escrows=many) is EXCEPTION
    assert reason(HELD_BACK, part(GROUPS), escrows=many) is QuarantineReason.TOO_MANY_DELETES
    assert reason(part(), escrows=many) is TOTAL


# --- How a part ended ---------------------------------------------------------------------------------------------


def test_a_part_in_which_all_went_well_succeeded() -> None:
    assert part_outcome(USERS, None, EscrowCounts(0, 0), 0) == (GOOD, None)


@pytest.mark.parametrize("escrows", [1, 7])
def test_a_part_of_which_objects_wait_has_entry_level_errors_and_says_how_many(escrows: int) -> None:
    status, told = part_outcome(USERS, None, EscrowCounts(0, escrows, "ObjectRefused: too large"), 0)
    assert told is not None
    assert (status, told.code, told.tenant_actionable) == (ESCROWED, "EntryLevelErrors", False)
    assert (told.message or "").startswith(f"{escrows} object(s) of users ")
    assert "ObjectRefused: too large" in (told.message or "")


@pytest.mark.parametrize("escrows", [0, 3])
def test_a_part_whose_deletions_are_held_back_says_so_and_what_can_be_done(escrows: int) -> None:
    status, told = part_outcome(GROUPS, None, EscrowCounts(escrows, escrows), 501)
    assert told is not None
    assert (status, told.code, told.tenant_actionable) == (ESCROWED, "TooManyDeletes", True)
    assert all(word in (told.message or "") for word in ("501", "groups", "ForceDeletes"))


@pytest.mark.parametrize(("escrows", "held"), [(0, 0), (3, 0), (0, 501), (3, 501)])
def test_a_part_that_failed_tells_what_it_failed_with(escrows: int, held: int) -> None:
    failure = error("generalException")
    assert part_outcome(USERS, failure, EscrowCounts(escrows, escrows), held) == (BAD, failure)


# --- The times of a quarantine ------------------------------------------------------------------------------------

CAUSE = (EXCEPTION, error("EncounteredCredentialError", actionable=True))


def test_the_first_attempt_comes_after_six_hours() -> None:
    assert impose(None, CAUSE, NOW, RULES) == Quarantine(*CAUSE, NOW, NOW, 0, NOW + timedelta(hours=6))


@pytest.mark.parametrize(
    ("hours", "following"),
    [(0.5, 6), (6, 12), (6.01, 12), (11.9, 12), (12, 24), (23.9, 24), (24, 48), (24.5, 48.5), (48, 72), (500, 524)],
)
def test_further_attempts_come_12_and_24_hours_after_the_first_and_then_daily(hours: float, following: float) -> None:
    first = impose(None, CAUSE, NOW, RULES)
    now = NOW + timedelta(hours=hours)
    again = impose(first, CAUSE, now, RULES)
    assert again.next_attempt == NOW + timedelta(hours=following)
    assert (again.series_began, again.current_began, again.series_count) == (NOW, now, 1)


def test_a_quarantine_for_another_reason_goes_on_with_the_series_and_tells_the_new_one() -> None:
    other = (QuarantineReason.TOO_MANY_DELETES, error(TOO_MANY_DELETES))
    again = impose(impose(None, CAUSE, NOW, RULES), other, NOW + timedelta(hours=6), RULES)
    assert (again.reason, again.error, again.series_began) == (*other, NOW)


@pytest.mark.parametrize(("days", "given_up"), [(0, False), (27.99, False), (28, False), (28.001, True), (29, True)])
def test_a_job_is_given_up_when_it_was_longer_than_28_days_in_quarantine(days: float, given_up: bool) -> None:
    assert is_given_up(impose(None, CAUSE, NOW, RULES), NOW + timedelta(days=days), RULES) is given_up


def test_other_times_are_kept_as_well() -> None:
    rules = QuarantineRules(attempts=(timedelta(hours=1),), given_up_after=timedelta(hours=3))
    first = impose(None, CAUSE, NOW, rules)
    again = impose(first, CAUSE, NOW + timedelta(hours=1), rules)
    assert (first.next_attempt, again.next_attempt) == (NOW + timedelta(hours=1), NOW + timedelta(hours=2))
    assert not is_given_up(again, NOW + timedelta(hours=3), rules)
    assert is_given_up(again, NOW + timedelta(hours=4), rules)


# --- The job after the run ----------------------------------------------------------------------------------------

QUARANTINED = replace(
    JOB,
    status_code=StatusCode.QUARANTINE,
    quarantine=impose(None, (QuarantineReason.TOO_MANY_DELETES, error(TOO_MANY_DELETES)), NOW, RULES),
)


def after(job: Job, *parts: PartRun, escrows: Mapping[PartName, int] | None = None, **more: Any) -> Job:
    return job_after_run(job, run(*parts), backlog(*parts, escrows=escrows, **more), RULES, NOW + timedelta(minutes=5))


ESCROWED_USERS = part(USERS, ESCROWED, error("EntryLevelErrors"))


@pytest.mark.parametrize(
    ("parts", "escrows", "expected"),
    [
        ((ESCROWED_USERS,), {USERS: 40_001}, BASE),
        ((ESCROWED_USERS,), {MEMBERS: 60_001}, TOTAL),
        ((part(USERS, ESCROWED, error("EntryLevelErrors"), received=12_499, failed=5_000),), {}, PROPORTION),
    ],
)
def test_too_many_escrows_quarantine_a_job_later_and_are_pruned_in_its_initial_run(
    parts: tuple[PartRun, ...], escrows: Mapping[PartName, int], expected: QuarantineReason
) -> None:
    job = after(JOB, *parts, escrows=escrows)
    assert (job.schedule_state, job.status_code, job.escrows_pruned) == (
        ScheduleState.ACTIVE,
        StatusCode.QUARANTINE,
        False,
    )
    assert job.quarantine is not None
    assert (job.quarantine.reason, job.next_run_time) == (expected, job.quarantine.next_attempt)
    assert expected in ESCROW_REASONS

    initial = after(replace(JOB, initial_run_pending=True), *parts, escrows=escrows)
    assert (initial.schedule_state, initial.status_code) == (ScheduleState.DISABLED, StatusCode.PAUSED)
    assert (initial.escrows_pruned, initial.quarantine, initial.next_run_time) == (True, None, None)
    assert not initial.initial_run_pending
    of_all = backlog(*parts, escrows=escrows)
    assert prunes_escrows(replace(JOB, initial_run_pending=True), run(*parts), of_all, RULES)
    assert not prunes_escrows(JOB, run(*parts), of_all, RULES)


def test_escrows_are_pruned_in_every_initial_run() -> None:
    anew = replace(JOB, initial_run_pending=True, escrows_pruned=True)
    left = backlog(ESCROWED_USERS, escrows={USERS: 40_001})
    assert prunes_escrows(anew, run(ESCROWED_USERS), left, RULES)


@pytest.mark.parametrize(
    ("parts", "escrows"),
    [
        ((ESCROWED_USERS,), {USERS: 40_000, MEMBERS: 20_000}),
        ((part(USERS, ESCROWED, error("EntryLevelErrors"), received=12_500, failed=5_000),), {USERS: 5_000}),
    ],
)
@pytest.mark.parametrize("initial", [False, True])
def test_just_as_many_escrows_as_are_not_too_many_change_nothing(
    parts: tuple[PartRun, ...], escrows: Mapping[PartName, int], initial: bool
) -> None:
    job = after(replace(JOB, initial_run_pending=initial), *parts, escrows=escrows)
    assert (job.status_code, job.escrows_pruned, job.quarantine) == (StatusCode.ACTIVE, False, None)
    assert not job.initial_run_pending


def test_in_the_initial_run_too_other_reasons_quarantine_the_job() -> None:
    refused = part(USERS, BAD, error("EncounteredCredentialError", actionable=True))
    job = after(replace(JOB, initial_run_pending=True), refused)
    assert (job.status_code, job.escrows_pruned) == (StatusCode.QUARANTINE, False)


@pytest.mark.parametrize(("unread", "pending"), [((), False), ((USERS,), True)])
def test_the_initial_run_is_over_when_every_part_has_been_read(unread: tuple[PartName, ...], pending: bool) -> None:
    for job in (JOB, replace(JOB, initial_run_pending=True)):
        pending_before = job.initial_run_pending
        assert after(job, part(), unread=unread).initial_run_pending is (pending and pending_before)


def test_that_escrows_were_pruned_is_told_until_a_run_succeeds() -> None:
    pruned = replace(JOB, escrows_pruned=True)
    assert after(pruned, ESCROWED_USERS, escrows={USERS: 1}).escrows_pruned
    assert after(pruned, part(USERS, BAD, error("BadRequest"))).escrows_pruned
    assert not after(pruned, part()).escrows_pruned


def test_a_quarantine_for_deletions_ends_when_none_is_held_back_any_more() -> None:
    job = after(QUARANTINED, part())
    assert (job.status_code, job.quarantine) == (StatusCode.ACTIVE, None)


def test_a_quarantine_for_deletions_goes_on_while_they_are_held_back() -> None:
    job = after(QUARANTINED, HELD_BACK)
    assert job.quarantine is not None
    assert (job.quarantine.reason, job.quarantine.series_count) == (QuarantineReason.TOO_MANY_DELETES, 1)


def test_a_run_with_entry_level_errors_works_and_ends_a_quarantine() -> None:
    assert after(QUARANTINED, ESCROWED_USERS, escrows={USERS: 1}).quarantine is None


def test_only_a_run_that_succeeded_is_the_last_successful_one() -> None:
    assert after(JOB, part()).last_successful_run == "run"
    assert after(JOB, ESCROWED_USERS, escrows={USERS: 1}).last_successful_run is None
    assert after(JOB, HELD_BACK).last_successful_run is None
