"""Whatever breaks, the cache never shows less than an older complete truth, and comes to equal the tenant."""

from __future__ import annotations

from collections.abc import Callable

from tests.databases import Databases, Kind
from tests.reliability.machine import live


def test_whatever_breaks_the_cache_comes_to_equal_the_tenant_and_never_shows_less(
    databases: Databases, database_kind: Kind, report: Callable[[str], None]
) -> None:
    figures = live(databases, database_kind, lives=12, steps=25)
    report(", ".join(f"{number} {name}" for name, number in figures.items()))
