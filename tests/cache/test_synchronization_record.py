"""The record of an organization is one query, and takes as long after years of runs as after the first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, text, update

from shared.cache import runs
from shared.cache import tables as t
from shared.cache.synchronization_record import find_record
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunStatus, RunType
from tests.cache.work import NOW, Cache, listened, opened_cache
from tests.databases import Databases

HISTORY = 2_000
A_RECORD = 200
"""More rows than any plan's nodes hand on for a record: the organization, some runs, parts, and parts of these runs."""


def asked_for_record(cache: Cache, organization: Organization) -> tuple[str, Any]:
    with listened(cache) as heard:
        find_record(cache.database, organization.name, EVERY_ORGANIZATION, NOW)
    (asked,) = heard
    return asked


def go_through_many_runs(cache: Cache, organization: Organization, history: int = HISTORY) -> None:
    """Puts so many runs behind the organization, from run-0 on; another one is queued."""
    shared = {"organization_id": organization.key, "type": RunType.INCREMENTAL}
    begun = [NOW + number * timedelta(minutes=40) for number in range(history)]
    times = {
        f"run-{number}": {"status": RunStatus.SUCCEEDED, "started_at": at, "ended_at": at}
        for number, at in enumerate(begun)
    }

    def body(connection: Connection) -> None:
        for table in (t.run_parts, t.runs):
            connection.execute(delete(table))
        connection.execute(
            insert(t.runs),
            [{**shared, **time, "run_id": run, "queued_at": time["started_at"]} for run, time in times.items()],
        )
        connection.execute(
            insert(t.run_parts),
            [
                {**shared, **time, "run_id": run, "part": part, "stage": "listing"}
                for run, time in times.items()
                for part in PartName
            ],
        )
        last = f"run-{history - 1}"
        named = {"last_run": last, "last_successful_run": last, "last_successful_run_with_exports": "run-0"}
        connection.execute(update(t.jobs).values(**named))
        connection.execute(update(t.parts).values(last_run=last))
        runs.create(
            connection, organization, RunType.INCREMENTAL, dict.fromkeys(PartName, RunType.INCREMENTAL), begun[0]
        )
        if connection.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))

    cache.write(body)


def rows_in(plan: Mapping[str, Any]) -> float:
    """How many rows the nodes of PostgreSQL's plan brought up or threw away."""
    own = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"))
    return own * plan["Actual Loops"] + sum(rows_in(node) for node in plan.get("Plans", ()))


def test_a_record_is_one_statement_and_nothing_around_it(cache: Cache, contoso: Organization) -> None:
    with listened(cache) as heard:
        assert find_record(cache.database, contoso.name, EVERY_ORGANIZATION, NOW).organization == contoso
    assert [statement.split()[0] for statement, _ in heard] == ["WITH"]


def test_a_record_after_many_runs_tells_those_that_count(cache: Cache, contoso: Organization) -> None:
    go_through_many_runs(cache, contoso)
    record = find_record(cache.database, contoso.name, EVERY_ORGANIZATION, NOW)
    assert record.last is not None
    assert record.last.activity_identifier == f"run-{HISTORY - 1}"
    assert record.last_successful == record.last
    assert record.last_successful_with_exports is not None
    assert record.last_successful_with_exports.activity_identifier == "run-0"
    assert record.queued is not None
    assert record.queued.status is RunStatus.QUEUED
    assert record.running is None
    assert set(record.parts) == set(PartName)
    for part in record.parts.values():
        assert part.last_run is not None
        assert part.last_run.start_time == record.last.start_time
        assert part.queued is not None
        assert part.running is None


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_postgresql_looks_at_no_run_that_the_record_does_not_tell_of(databases: Databases, plans: str) -> None:
    with databases.fresh("postgresql") as url, opened_cache(url) as cache:
        contoso = cache.register()
        go_through_many_runs(cache, contoso)
        statement, parameters = asked_for_record(cache, contoso)
        with cache.database.read() as connection:
            connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {plans}")
            connection.exec_driver_sql("PREPARE record AS " + statement.replace("%(wanted)s", "$1"))
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE record ('{parameters['wanted']}')"
            found = connection.exec_driver_sql(explain).scalar_one()
    assert rows_in(found[0]["Plan"]) < A_RECORD < HISTORY


def test_sqlite_takes_no_more_steps_for_a_long_history(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, opened_cache(url) as cache:
        contoso = cache.register()
        steps: list[int] = []
        for history in (5, HISTORY):
            go_through_many_runs(cache, contoso, history)
            statement, parameters = asked_for_record(cache, contoso)
            with cache.database.read() as connection:
                taken = count()
                driver: Any = connection.connection.driver_connection
                driver.set_progress_handler(lambda taken=taken: next(taken) and None, 1)
                connection.exec_driver_sql(statement, parameters).all()
                driver.set_progress_handler(None, 1)
                steps.append(next(taken))
    assert steps[0] > 0
    assert steps[1] <= steps[0] * 1.05
