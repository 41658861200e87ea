"""What the end of a run's parts means for the run and for the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.models.jobs import Job
from shared.models.parts import PartName
from shared.models.runs import Counts, PartRun, Run, RunStatus, RunType
from shared.models.synchronization import QuarantineReason, ScheduleState, StatusCode, SynchronizationError
from shared.sync.outcome import job_after_run, run_error, run_status, total
from shared.sync.quarantine import Backlog, QuarantineRules

STARTED = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
NOW = STARTED + timedelta(minutes=5)
INTERVAL = timedelta(minutes=40)
JOB = Job("job", ScheduleState.ACTIVE, INTERVAL, StatusCode.ACTIVE, last_run="before", initial_run_pending=False)
RULES = QuarantineRules()
GOOD, ESCROWED, BAD = RunStatus.SUCCEEDED, RunStatus.ENTRY_LEVEL_ERRORS, RunStatus.FAILED


def parts(*statuses: RunStatus, actionable: bool = False) -> list[PartRun]:
    return [
        PartRun(
            name,
            RunType.FULL,
            status,
            3,
            None,
            Counts(imported=3, exports=2, exported=1),
            STARTED,
            NOW,
            SynchronizationError(code=f"code{position}", message=f"Message {position}.", tenant_actionable=actionable)
            if status is BAD
            else None,
        )
        for position, (name, status) in enumerate(zip(PartName, statuses, strict=False))
    ]


def all_of(run: Run) -> Backlog:
    """Nothing is left over of the run's parts, and there are no others."""
    return Backlog({}, [part.part for part in run.parts])


def after(job: Job, *statuses: RunStatus, counts: Counts | None = None, now: datetime = NOW) -> Job:
    part_runs = tuple(parts(*statuses))
    run = Run(
        "run", "contoso.com", RunType.FULL, run_status(part_runs), STARTED, STARTED, NOW, run_error(part_runs),
        counts or Counts(), part_runs,
    )  # fmt: skip
    return job_after_run(job, run, all_of(run), RULES, now)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([GOOD], GOOD),
        ([GOOD, GOOD], GOOD),
        ([GOOD, ESCROWED], ESCROWED),
        ([GOOD, BAD], BAD),
        ([ESCROWED, BAD, GOOD], BAD),
        ([BAD, BAD], BAD),
    ],
)
def test_the_worst_part_is_the_runs_outcome(statuses: list[RunStatus], status: RunStatus) -> None:
    assert run_status(parts(*statuses)) is status


def test_the_runs_error_tells_of_every_failed_part() -> None:
    error = run_error(parts(GOOD, BAD, BAD))
    assert error is not None
    assert error.code == "code1"
    assert error.message == "groups: Message 1. groupMembers: Message 2."
    assert not error.tenant_actionable
    assert run_error(parts(GOOD, GOOD)) is None


def test_what_the_tenant_can_repair_in_one_part_it_can_repair_in_the_run() -> None:
    failed = [*parts(BAD), *parts(BAD, actionable=True)]
    error = run_error(failed)
    assert error is not None
    assert error.tenant_actionable


def test_the_runs_counts_are_the_sum_of_its_parts() -> None:
    assert total(parts(GOOD, BAD, GOOD)) == Counts(imported=9, exports=6, exported=3)


def test_a_good_run_reaches_the_steady_state() -> None:
    assert after(JOB, GOOD, counts=Counts(exports=1, exported=1)) == replace(
        JOB,
        last_run="run",
        last_successful_run="run",
        last_successful_run_with_exports="run",
        next_run_time=STARTED + INTERVAL,
        steady_state_first=NOW,
        steady_state_last=NOW,
    )


def test_the_first_steady_state_stays_the_first() -> None:
    job = after(replace(JOB, steady_state_first=STARTED, steady_state_last=STARTED), GOOD)
    assert (job.steady_state_first, job.steady_state_last) == (STARTED, NOW)


def test_a_good_run_that_wrote_nothing_is_no_run_with_exports() -> None:
    assert after(JOB, GOOD).last_successful_run_with_exports is None


@pytest.mark.parametrize("statuses", [[BAD], [GOOD, BAD], [GOOD, ESCROWED]])
def test_a_run_with_failures_is_neither_successful_nor_a_steady_state(statuses: list[RunStatus]) -> None:
    job = after(JOB, *statuses, counts=Counts(exports=1, exported=1))
    assert job.last_run == "run"
    assert (job.last_successful_run, job.last_successful_run_with_exports) == (None, None)
    assert (job.steady_state_first, job.steady_state_last) == (None, None)


@pytest.mark.parametrize(
    ("statuses", "failures"), [([BAD], 4), ([BAD, BAD], 4), ([BAD, GOOD], 0), ([BAD, ESCROWED], 0), ([GOOD], 0)]
)
def test_only_a_run_that_failed_as_a_whole_counts_as_a_complete_failure(
    statuses: list[RunStatus], failures: int
) -> None:
    job = after(replace(JOB, successive_complete_failures=3), *statuses)
    assert job.successive_complete_failures == failures


@pytest.mark.parametrize("status", [GOOD, BAD])
def test_a_job_becomes_active_with_its_first_run(status: RunStatus) -> None:
    assert after(replace(JOB, status_code=StatusCode.NOT_RUN, last_run=None), status).status_code is StatusCode.ACTIVE


def test_a_paused_job_stays_paused_when_its_run_ends() -> None:
    paused = replace(JOB, schedule_state=ScheduleState.DISABLED, status_code=StatusCode.PAUSED)
    job = after(paused, GOOD)
    assert (job.status_code, job.next_run_time) == (StatusCode.PAUSED, None)


def test_the_next_run_is_an_interval_after_this_ones_start_but_not_in_the_past() -> None:
    late = STARTED + INTERVAL * 2
    assert after(JOB, GOOD).next_run_time == STARTED + INTERVAL
    assert after(JOB, GOOD, now=late).next_run_time == late


def refused(job: Job, *, hours: float) -> Job:
    """The job after a run for which no token was issued."""
    now = STARTED + timedelta(hours=hours)
    error = SynchronizationError(code="EncounteredCredentialError", message="No token.", tenant_actionable=True)
    part_runs = (replace(parts(BAD)[0], error=error), parts(GOOD, GOOD)[1])
    run = Run("run", "contoso.com", RunType.FULL, BAD, STARTED, now, now, error, Counts(), part_runs)
    return job_after_run(job, run, all_of(run), RULES, now)


def test_refused_credentials_quarantine_the_job_at_once() -> None:
    job = refused(JOB, hours=0)
    assert (job.schedule_state, job.status_code) == (ScheduleState.ACTIVE, StatusCode.QUARANTINE)
    assert job.quarantine is not None
    assert job.quarantine.reason is QuarantineReason.ENCOUNTERED_QUARANTINE_EXCEPTION
    assert (job.quarantine.series_count, job.quarantine.error.message) == (0, "No token.")


def test_a_missing_permission_of_one_part_is_no_reason_for_a_quarantine_of_all_parts_it_is() -> None:
    one = _actionable(parts(BAD, actionable=True) + parts(GOOD))
    assert job_after_run(JOB, one, all_of(one), RULES, NOW).quarantine is None
    both = _actionable(parts(BAD, BAD, actionable=True))
    assert job_after_run(JOB, both, all_of(both), RULES, NOW).quarantine is not None
    some = Backlog({}, list(PartName))
    assert job_after_run(JOB, both, some, RULES, NOW).quarantine is None, "other parts were not asked for"


def _actionable(part_runs: list[PartRun]) -> Run:
    return Run("run", "c", RunType.FULL, BAD, STARTED, STARTED, NOW, None, Counts(), tuple(part_runs))


def test_a_quarantined_job_is_tried_after_6_12_and_24_hours_then_daily_and_given_up_after_28_days() -> None:
    job, hours, tried = refused(JOB, hours=0), 0.0, []
    while job.next_run_time is not None:
        hours = (job.next_run_time - STARTED) / timedelta(hours=1)
        tried.append(hours)
        job = refused(job, hours=hours)
    assert tried[:6] == [6, 12, 24, 48, 72, 96]
    assert 28 * 24 < tried[-1] <= 29 * 24
    assert (job.schedule_state, job.status_code) == (ScheduleState.DISABLED, StatusCode.QUARANTINE)
    assert job.quarantine is not None
    assert job.quarantine.series_began == STARTED
    assert job.quarantine.series_count == len(tried)


def test_a_quarantined_job_leaves_by_itself_when_a_run_works() -> None:
    job = after(refused(JOB, hours=0), GOOD)
    assert (job.status_code, job.quarantine) == (StatusCode.ACTIVE, None)


def test_a_run_that_fails_otherwise_does_not_lift_the_quarantine() -> None:
    quarantined = refused(JOB, hours=0)
    job = after(quarantined, BAD)
    assert job.status_code is StatusCode.QUARANTINE
    assert job.quarantine is not None
    assert job.quarantine.error == (quarantined.quarantine and quarantined.quarantine.error)
