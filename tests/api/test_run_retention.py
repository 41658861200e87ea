"""Runs can be read for a while, and as long as a state names them."""

from __future__ import annotations

import pytest

from shared.cache import retention
from tests.api.support import check_error
from tests.application import NAME, Application

FORBIDDEN = {"path": "/users/delta", "kind": "status", "status": 403}


def answers(application: Application, *runs: dict) -> list[int]:
    return [
        application.client.get(f"/organizations/{NAME}/syncs/{run['activityIdentifier']}").status_code for run in runs
    ]


def test_a_run_is_forgotten_30_days_after_it_was_asked_for(application: Application) -> None:
    application.register()
    first, second = application.synchronize(), application.synchronize()
    application.clock.forward(days=29)
    third = application.synchronize()
    assert answers(application, first, second, third) == [200, 200, 200]

    application.clock.forward(days=1)
    fourth = application.synchronize()

    # Nothing was written since the first one, which the job therefore still names.
    with_exports = application.job()["status"]["lastSuccessfulExecutionWithExports"]
    assert with_exports["activityIdentifier"] == first["activityIdentifier"]
    assert answers(application, first, second, third, fourth) == [200, 404, 200, 200]
    check_error(application.client.get(f"/organizations/{NAME}/syncs/{second['activityIdentifier']}"), 404)


def test_a_run_that_the_job_still_names_is_not_forgotten(application: Application) -> None:
    application.register()
    first, succeeded = application.synchronize(), application.synchronize()
    application.control("POST", "/faults", [FORBIDDEN])
    application.clock.forward(days=31)

    failed = [application.synchronize() for _ in range(2)]

    status = application.job()["status"]
    assert status["lastSuccessfulExecution"]["activityIdentifier"] == succeeded["activityIdentifier"]
    assert status["lastExecution"]["activityIdentifier"] == failed[1]["activityIdentifier"]
    assert answers(application, first, succeeded, *failed) == [200, 200, 200, 200]


def test_each_run_forgets_some_so_that_a_long_past_does_not_hold_it_up(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", 2)
    application.register()
    application.synchronize()
    old = [application.synchronize() for _ in range(4)]
    application.clock.forward(days=31)

    application.synchronize()
    assert answers(application, *old) == [404, 404, 200, 200]

    application.synchronize()
    assert answers(application, *old) == [404, 404, 404, 404]
