"""The schema: migrations and tables agree, and the database itself refuses states that must not exist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Table, inspect, update

from shared.cache import due, organizations, purge
from shared.cache import tables as t
from shared.cache.migrations import configuration, upgrade
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.errors import Conflict, DatabaseFailure
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.synchronization import ScheduleState, StatusCode
from shared.sync.lifecycle import Condition
from tests.cache.work import NOW, Cache, live, opened_cache, with_links

ROOT = Path(__file__).resolve().parents[2]
RUN: dict[str, Any] = {"run_id": "r", "queued_at": NOW, "type": "Full", "status": "Queued"}
RUNNING = {"status": "Running", "started_at": NOW}
SUCCEEDED = {"status": "Succeeded", "started_at": NOW, "ended_at": NOW}
PART: dict[str, Any] = {"run_id": "run", "part": "users", "type": "Full", "status": "Queued", "stage": "listing"}


def tables(url: str) -> set[str]:
    with opened_cache(url) as cache, cache.database.read() as connection:
        return set(inspect(connection).get_table_names())


# --- Migrations ---------------------------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_tables(cache: Cache) -> None:
    with cache.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, t.metadata) == []


def test_the_migrations_make_the_constraints_too(cache: Cache) -> None:
    # Alembic does not compare CHECK constraints.
    with cache.database.read() as connection:
        for table in t.metadata.sorted_tables:
            made = {check["name"] for check in inspect(connection).get_check_constraints(table.name)}
            wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert made == wanted, table.name


def test_upgrading_again_changes_nothing_and_keeps_the_rows(database_url: str) -> None:
    with opened_cache(database_url) as cache:
        cache.run(cache.register(), PartName.USERS, live("a"))
    upgrade(database_url)
    with opened_cache(database_url) as cache:
        assert cache.live_objects(cache.read(lambda c: organizations.find(c, "contoso1.com", EVERY_ORGANIZATION))) == {
            "a"
        }


def test_the_way_down_leaves_nothing_and_the_way_up_works_again(database_url: str) -> None:
    before = tables(database_url)
    command.downgrade(configuration(database_url), "base")
    assert tables(database_url) == {"alembic_version"}
    upgrade(database_url)
    assert tables(database_url) == before
    with opened_cache(database_url) as cache:
        cache.run(cache.register(), PartName.USERS, live("a"))


def test_the_command_brings_the_database_up_to_date(database_url: str) -> None:
    command.downgrade(configuration(database_url), "base")
    environment = {**os.environ, "DATABASE_URL": database_url}
    line = [sys.executable, "-m", "shared.cache", "upgrade"]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "up to date" in done.stdout
    assert "objects" in tables(database_url)


# --- States that must not exist -----------------------------------------------------------------------------------


def add(cache: Cache, organization: Organization, table: Table, **values: Any) -> None:
    cache.write(lambda c: c.execute(table.insert().values(organization_id=organization.key, **values)))


def run(cache: Cache, organization: Organization, **changed: Any) -> None:
    add(cache, organization, t.runs, **RUN | {"run_id": str(uuid4())} | changed)


@pytest.mark.parametrize("state", [{}, RUNNING], ids=["queued", "running"])
def test_an_organization_has_one_queued_and_one_running_run_at_most(
    cache: Cache, contoso: Organization, state: dict[str, Any]
) -> None:
    run(cache, contoso)
    run(cache, contoso, **RUNNING)
    run(cache, contoso, **SUCCEEDED)
    run(cache, contoso, **SUCCEEDED)
    run(cache, cache.register(2), **state)
    with pytest.raises(DatabaseFailure):
        run(cache, contoso, **state)


IMPOSSIBLE = [
    {"status": "Succeeded", "started_at": NOW},
    {"status": "Cancelled"},
    {"status": "Queued", "ended_at": NOW},
    {"status": "Running", "started_at": NOW, "ended_at": NOW},
    {"status": "Running"},
    {"status": "Failed", "started_at": NOW, "ended_at": NOW},
    {"status": "Unknown"},
    {"type": "Delta"},
    {"exports": 1, "exported": 2},
    {"escrowed": 2, "escrowed_raw": 1},
    {"imported_deltas": 1, "imported_reference_deltas": 2},
    {"imported": 1, "entitled": 2},
    {"imported": 2, "entitled": 1, "entitled_for_provisioning": 2},
]


@pytest.mark.parametrize("changed", IMPOSSIBLE, ids=str)
def test_a_run_in_a_state_that_cannot_be_is_refused(
    cache: Cache, contoso: Organization, changed: dict[str, Any]
) -> None:
    with pytest.raises(DatabaseFailure):
        run(cache, contoso, **changed)
    run(cache, contoso, run_id="run")
    with pytest.raises(DatabaseFailure):
        add(cache, contoso, t.run_parts, **PART | changed)


@pytest.mark.parametrize(
    "changed",
    [
        *({"stage": stage} for stage in ("deletedItems", "sweepLive", "sweepAll", "sweepLinks", "cleanup")),
        {"stage": "unknown", "delta_link": "d"},
        {**SUCCEEDED, "lease_until": NOW},
        {**SUCCEEDED, "wake_at": NOW},
        {"run_id": "of no run"},
    ],
    ids=str,
)
def test_a_part_of_a_run_in_a_state_that_cannot_be_is_refused(
    cache: Cache, contoso: Organization, changed: dict[str, Any]
) -> None:
    run(cache, contoso, run_id="run")
    with pytest.raises(DatabaseFailure):
        add(cache, contoso, t.run_parts, **PART | changed)
    add(cache, contoso, t.run_parts, **PART | {"stage": "sweepAll", "delta_link": "d"})


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        (t.jobs, {"next_run_at": NOW}),
        (t.jobs, {"schedule_state": "Paused", "next_run_at": NOW}),
        (t.jobs, {"schedule_state": "active"}),
        (t.jobs, {"status_code": "Running"}),
        (t.jobs, {"steady_state_first_at": NOW}),
        (t.parts, {"full_run_required": False}),
        (t.parts, {"entry_count": -1}),
    ],
    ids=str,
)
def test_a_job_or_part_in_a_state_that_cannot_be_is_refused(
    cache: Cache, contoso: Organization, table: Table, changed: dict[str, Any]
) -> None:
    with pytest.raises(DatabaseFailure):
        cache.write(lambda c: c.execute(update(table).where(table.c.organization_id == contoso.key).values(**changed)))


QUARANTINE: dict[str, Any] = {
    "quarantine_reason": "Unknown",
    "quarantine_current_began_at": NOW,
    "quarantine_series_began_at": NOW,
    "quarantine_series_count": 0,
    "quarantine_next_attempt_at": NOW,
}
NO_QUARANTINE = dict.fromkeys(QUARANTINE)


def is_taken(cache: Cache, organization: Organization, **changed: Any) -> bool:
    """Whether the database takes a job like this."""
    statement = update(t.jobs).where(t.jobs.c.organization_id == organization.key).values(**changed)
    try:
        cache.write(lambda c: c.execute(statement))
    except DatabaseFailure:
        return False
    return True


@pytest.mark.parametrize("schedule_state", ScheduleState)
@pytest.mark.parametrize("status_code", StatusCode)
def test_a_job_shows_only_what_a_condition_of_its_life_shows(
    cache: Cache, contoso: Organization, schedule_state: ScheduleState, status_code: StatusCode
) -> None:
    shown = {
        (found.schedule_state, found.status_code(has_run=has_run)) for found in Condition for has_run in (True, False)
    }
    pair = {"schedule_state": schedule_state, "status_code": status_code}
    possible = (schedule_state, status_code) in shown
    in_quarantine = status_code is StatusCode.QUARANTINE

    assert is_taken(cache, contoso, **pair, **NO_QUARANTINE) == (possible and not in_quarantine)
    assert is_taken(cache, contoso, **pair, **QUARANTINE) == (possible and in_quarantine)
    # Of a job that was deleted nothing is left, and nothing but an active one is due.
    last = QUARANTINE if in_quarantine else NO_QUARANTINE
    without_job = possible and status_code is StatusCode.NOT_CONFIGURED
    assert is_taken(cache, contoso, **pair, **last, job_id=None) == without_job
    assert is_taken(cache, contoso, **pair, **last, job_id="x") == possible
    due = possible and schedule_state is ScheduleState.ACTIVE
    assert is_taken(cache, contoso, **pair, **last, next_run_at=NOW) == due


@pytest.mark.parametrize("schedule_state", ["Active", "Disabled"])
def test_a_quarantine_is_kept_whole(cache: Cache, contoso: Organization, schedule_state: str) -> None:
    pair = {"schedule_state": schedule_state, "status_code": "Quarantine"}
    for missing in QUARANTINE:
        assert not is_taken(cache, contoso, **pair, **QUARANTINE | {missing: None}), missing
    assert is_taken(cache, contoso, **pair, **QUARANTINE)


def test_settings_and_restarts_that_cannot_be_are_refused(cache: Cache, contoso: Organization) -> None:
    restarted = {"restarted_run": "r", "restart_scope": 4, "restarted_at": NOW}
    assert is_taken(cache, contoso, **restarted)
    for missing in restarted:
        assert not is_taken(cache, contoso, **{missing: None}), missing
    for impossible in ({"interval_seconds": 0}, {"interval_seconds": -1}, {"deletion_threshold": -1}):
        assert not is_taken(cache, contoso, **impossible), impossible
    for possible in ({"interval_seconds": 1}, {"deletion_threshold": 0}, {"deletion_threshold": None}):
        assert is_taken(cache, contoso, **possible), possible


# --- Registration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [{"name": "Contoso1.com"}, {"tenantId": "00000000-0000-0000-0000-000000000001"}])
def test_a_tenant_and_a_name_are_registered_once_while_they_are_there(
    cache: Cache, contoso: Organization, changed: dict[str, Any]
) -> None:
    with pytest.raises(Conflict):
        cache.register(2, **changed)
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    assert cache.register(2, **changed).key != contoso.key


def test_a_removed_organizations_rows_go_and_its_successor_begins_with_none(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, PartName.USERS, live("a"), live("b"))
    cache.run(contoso, PartName.GROUP_MEMBERS, with_links("g", "a"))
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    successor = cache.register()
    cache.run(successor, PartName.USERS, live("c"))
    assert cache.live_objects(successor) == {"c"}
    assert cache.read(lambda c: due.find(c, NOW)).removed == [contoso.key]
    for _ in range(10):
        if not cache.write(lambda c: purge.purge(c, contoso.key)):
            break
    assert cache.read(lambda c: due.find(c, NOW)).removed == []
    assert (cache.objects(contoso), cache.links(contoso)) == ({}, {})
    assert cache.live_objects(successor) == {"c"}


def test_a_registered_organizations_rows_are_never_purged(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, PartName.USERS, live("a"))
    assert cache.write(lambda c: purge.purge(c, contoso.key)) is False
    assert cache.live_objects(contoso) == {"a"}
