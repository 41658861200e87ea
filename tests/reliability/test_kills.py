"""A worker that is killed with SIGKILL at any point loses nothing and applies nothing twice."""

from __future__ import annotations

from collections.abc import Callable

from tests.databases import Databases, Kind
from tests.reliability.kills import campaign

KILLS = 200


def test_a_worker_killed_at_200_random_points_loses_nothing_and_applies_no_page_twice(
    databases: Databases, database_kind: Kind, report: Callable[[str], None]
) -> None:
    figures = campaign(databases, database_kind, KILLS, seed=1)
    report(figures.told())
    assert figures.kills.total() >= KILLS
