"""What the end of a run's parts means for the run and for the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.models.jobs import Job
from shared.models.parts import PartName
from shared.models.runs import Counts, PartRun, RunStatus, RunType
from shared.models.synchronization import ScheduleState, StatusCode, SynchronizationError
from shared.sync.outcome import job_after_run, run_error, run_status, total

STARTED = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
NOW = STARTED + timedelta(minutes=5)
INTERVAL = timedelta(minutes=40)
JOB = Job("job", ScheduleState.ACTIVE, INTERVAL, StatusCode.ACTIVE, None, 0, None, None)
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


def after(job: Job, *statuses: RunStatus, counts: Counts | None = None, now: datetime = NOW) -> dict[str, Any]:
    return job_after_run(job, "run", STARTED, parts(*statuses), counts or Counts(), now)


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
    changed = after(JOB, GOOD, counts=Counts(exports=1, exported=1))
    assert changed == {
        "last_run": "run",
        "last_successful_run": "run",
        "last_successful_run_with_exports": "run",
        "successive_complete_failures": 0,
        "next_run_at": STARTED + INTERVAL,
        "steady_state_first_at": NOW,
        "steady_state_last_at": NOW,
    }


def test_the_first_steady_state_stays_the_first() -> None:
    changed = after(replace(JOB, steady_state_first=STARTED, steady_state_last=STARTED), GOOD)
    assert (changed["steady_state_first_at"], changed["steady_state_last_at"]) == (STARTED, NOW)


def test_a_good_run_that_wrote_nothing_is_no_run_with_exports() -> None:
    assert "last_successful_run_with_exports" not in after(JOB, GOOD)


@pytest.mark.parametrize("statuses", [[BAD], [GOOD, BAD], [GOOD, ESCROWED]])
def test_a_run_with_failures_is_neither_successful_nor_a_steady_state(statuses: list[RunStatus]) -> None:
    changed = after(JOB, *statuses, counts=Counts(exports=1, exported=1))
    assert changed["last_run"] == "run"
    assert not {name for name in changed if "successful" in name or "steady" in name}


@pytest.mark.parametrize(
    ("statuses", "failures"), [([BAD], 4), ([BAD, BAD], 4), ([BAD, GOOD], 0), ([BAD, ESCROWED], 0), ([GOOD], 0)]
)
def test_only_a_run_that_failed_as_a_whole_counts_as_a_complete_failure(
    statuses: list[RunStatus], failures: int
) -> None:
    assert after(replace(JOB, successive_complete_failures=3), *statuses)["successive_complete_failures"] == failures


@pytest.mark.parametrize("status", [GOOD, BAD])
def test_a_job_becomes_active_with_its_first_run(status: RunStatus) -> None:
    assert after(replace(JOB, status_code=StatusCode.NOT_RUN), status)["status_code"] is StatusCode.ACTIVE


@pytest.mark.parametrize("code", [StatusCode.ACTIVE, StatusCode.PAUSED, StatusCode.QUARANTINE])
def test_another_status_is_left_as_it_is(code: StatusCode) -> None:
    assert "status_code" not in after(replace(JOB, status_code=code), GOOD)


def test_the_next_run_is_an_interval_after_this_ones_start_but_not_in_the_past() -> None:
    late = STARTED + INTERVAL * 2
    assert after(JOB, GOOD)["next_run_at"] == STARTED + INTERVAL
    assert after(JOB, GOOD, now=late)["next_run_at"] == late


@pytest.mark.parametrize("state", [ScheduleState.DISABLED, ScheduleState.PAUSED])
def test_a_job_that_is_not_active_has_no_next_run(state: ScheduleState) -> None:
    assert after(replace(JOB, schedule_state=state), GOOD)["next_run_at"] is None
