"""A worker that is killed at any point loses nothing; one that was given up for dead and wakes changes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sqlalchemy import select

from local.comparison import compare
from shared.cache.database import Database
from shared.cache.tables import metadata, run_parts
from tests.application import NAME
from tests.databases import Databases, Kind
from tests.reliability.kills import SECONDS_BETWEEN_LIVES, Killing, campaign
from tests.reliability.worker import Life, Worker, worker

KILLS = 200
# Of each part the page that was being written, and the one fetched ahead of it.
MOST_READ_AGAIN = 2


def test_a_worker_killed_at_200_random_points_loses_nothing_and_applies_no_page_twice(
    databases: Databases, database_kind: Kind, report: Callable[[str], None]
) -> None:
    figures = campaign(databases, database_kind, KILLS, seed=1)
    report(figures.told())
    assert figures.kills.total() >= KILLS
    assert figures.kills.keys() == {"Full", "Incremental"}
    assert max(figures.by_kill) <= MOST_READ_AGAIN


def test_a_worker_that_wakes_after_another_took_over_changes_nothing(databases: Databases, database_kind: Kind) -> None:
    with ExitStack() as opened:
        killing = Killing(databases, database_kind, 7, opened)
        killing.load()
        stale, database, control = killing.worker, killing.database, killing.control
        url = database.engine.url.render_as_string(hide_password=False)
        successor = opened.enter_context(worker(url, killing.tenant.url, GRAPH_PAGE_SIZE="5"))
        successor.begin(Life(0))
        assert successor.outcome() == 0
        for number, kind in enumerate(["Full", "Incremental", "Full", "Incremental"]):
            control.post("/mutate", json={"count": 120, "seed": number}).raise_for_status()
            stale.begin(Life(killing.later, kind, NAME, ["users", "groups", "groupMembers", "teams"]))
            _stop(killing, stale, lambda: len(_fences(database)) >= 2)
            held = _fences(database)
            assert held

            killing.later += SECONDS_BETWEEN_LIVES
            successor.begin(Life(killing.later))
            _stop(killing, successor, lambda held=held: not held.items() & _fences(database).items())
            assert _fences(database), "nothing is left of the run that the stale worker could spoil"
            before = _everything(database)
            stale.end(signal.SIGCONT)
            assert stale.outcome() == 0
            assert _everything(database) == before

            successor.end(signal.SIGCONT)
            assert successor.outcome() == 0
            killing.later += SECONDS_BETWEEN_LIVES
            successor.begin(Life(killing.later, "Incremental", NAME))
            assert successor.outcome() == 0
            assert compare(database, killing.tenant.url, NAME).differences == []


def _stop(killing: Killing, life: Worker, reached: Callable[[], bool]) -> None:
    """Stops a life where it is as far as asked and all of its requests wait for their answers: it then sleeps with
    pages under way, and holds no lock that would keep others waiting."""
    for _ in life.commits():
        if reached():
            break
    killing.control.post("/faults", json=[{"kind": "latency", "milliseconds": 1500}]).raise_for_status()
    time.sleep(0.7)
    life.end(signal.SIGSTOP)
    killing.control.delete("/faults").raise_for_status()


def _fences(database: Database) -> dict[str, int]:
    """The fences of the leases in force, by part."""
    with database.read() as connection:
        rows = connection.execute(
            select(run_parts.c.part, run_parts.c.fence).where(run_parts.c.lease_until.is_not(None))
        )
        return {row.part: row.fence for row in rows}


def _everything(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in metadata.sorted_tables
        }
