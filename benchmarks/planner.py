"""A tick of the planner: many organizations, of which few are due, and what their messages then take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import azure.functions as func
from sqlalchemy import event, insert, select, text, true, update

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import KINDS, TITLES, Workbench
from shared.cache import organizations, slices
from shared.cache.tables import jobs, parts, run_parts, runs
from shared.cache.tables import organizations as organizations_table
from shared.models.organizations import OrganizationRegistration
from shared.models.parts import PartName
from shared.models.runs import RunStatus
from shared.services import Services, utc_now
from shared.settings import Settings
from shared.sync.completion import finish_part
from shared.sync.control import start
from shared.sync.planning import find_due, plan_for
from shared.triggers.messages import send_keys
from tests.application import APPLICATION
from tests.databases import Kind

_DUE = 100
_REGISTERED = (100, 1_000, 10_000)
_TICKS = 60
_PARTS = ["users", "groups", "groupMembers", "sites", "teams"]


def measure(bench: Workbench) -> list[Result]:
    most = _REGISTERED[-1]
    result = Result(8, f"A tick of the planner with {most:,} organizations, of which {_DUE} are due")
    curves: dict[str, list[float]] = {}
    for kind in KINDS:
        title = TITLES[kind]
        with ExitStack() as opened:
            registers = [opened.enter_context(_register(bench, kind, number)) for number in _REGISTERED]
            ticks, queries = _tick_in_turns(registers)
            curves[title] = ticks
            planned = _plan(registers[-1])
        result.figures += [
            Figure(f"{title}, {number:,} organizations", tick, "ms")
            for number, tick in zip(_REGISTERED, ticks, strict=True)
        ]
        result.figures.append(Figure(f"{title}, then for each organization that is due", planned, "ms"))
        result.judge_at_most(f"{title}: a tick with {most:,} organizations", ticks[-1], 50, "ms")
        result.judge_at_most(f"{title}: its queries", queries, 1, "")
        result.judge_at_most(f"{title}: {most:,} organizations / {_DUE}", ticks[-1] / ticks[0], 1.2, "×")
    result.remarks += [
        f"Of a quarter of the {_DUE} the next run is due, of the others a cursor, a second look, or a part that waits.",
        f"A tick is the function's own work: the query, and the {_DUE} messages made of its rows (median of {_TICKS}, "
        "the databases in turns). The rest is done for each organization by itself, in a transaction of its own, "
        "wherever a worker takes its message.",
    ]
    labels = [f"{number:,}" for number in _REGISTERED]
    result.plots.append(Plot(f"A tick with {_DUE} organizations due among so many", "ms", labels, curves, lines=True))
    return [result]


@contextmanager
def _register(bench: Workbench, kind: Kind, number: int) -> Iterator[Services]:
    """The product on a database with so many organizations that have synchronized; some are due."""
    with bench.databases.fresh(kind) as url:
        services = Services.create(Settings(database_url=url, auth_mode="none"), utc_now)
        try:
            key = _synchronized(services)
            _copy(services, key, range(key + 1, key + number))
            _make_due(services, range(key, key + number, number // _DUE))
            if kind == "postgresql":
                # As autovacuum does by and by.
                with services.database.write() as connection:
                    connection.execute(text("ANALYZE"))
            yield services
        finally:
            services.database.close()


def _synchronized(services: Services) -> int:
    """The number of an organization whose first run has just ended."""
    document = {"tenantId": str(UUID(int=1)), "name": "contoso1.com", "application": APPLICATION, "parts": _PARTS}
    registration = OrganizationRegistration.model_validate(document)
    with services.database.write() as connection:
        key = organizations.register(connection, registration, timedelta(minutes=40), 500, services.now()).key
    _, messages = start(services, key)
    for message in messages:
        with services.database.write() as connection:
            work = slices.take(connection, message, services.now(), services.settings.lease)
            assert work is not None
            finish_part(connection, services, replace(work, delta_link="link"), None)
    return key


def _copy(services: Services, key: int, numbers: Sequence[int]) -> None:
    """Adds organizations that are like this one but for their names."""
    with services.database.write() as connection:
        for table in (organizations_table, jobs, parts, runs, run_parts):
            rows = connection.execute(select(table).where(table.c.organization_id == key)).mappings().all()
            copies: list[dict[str, Any]] = []
            for number in numbers:
                own = {
                    "organization_id": number,
                    "tenant_id": str(UUID(int=number)),
                    "name": f"contoso{number}.com",
                    "job_id": f"job {number}",
                }
                of_table = {name: value for name, value in own.items() if name in table.c}
                copies += [{**row, **of_table} for row in rows]
            if copies:
                connection.execute(insert(table), copies)


def _make_due(services: Services, keys: Sequence[int]) -> None:
    """Of a quarter of these the next run is due, of a quarter a cursor, a second look, a part that waits."""
    late = services.now() - timedelta(minutes=1)
    under_way = {"status": RunStatus.RUNNING, "ended_at": None}
    users = PartName.USERS
    with services.database.write() as connection:
        for table, condition, some, values in (
            (jobs, true(), keys[0::4], {"next_run_at": late}),
            (parts, parts.c.part == users, keys[1::4], {"refresh_at": late}),
            (parts, parts.c.part == users, keys[2::4], {"parity_recheck_at": late}),
            (runs, true(), keys[3::4], under_way),
            (run_parts, run_parts.c.part == users, keys[3::4], {**under_way, "wake_at": late}),
        ):
            of_some = table.c.organization_id.in_(some)
            connection.execute(update(table).where(of_some, condition).values(values))


class _Messages(func.Out[Any]):
    def __init__(self) -> None:
        self.bodies: list[str] = []

    def set(self, val: Any) -> None:
        self.bodies = val

    def get(self) -> Any:
        return self.bodies


def _tick_in_turns(registers: Sequence[Services]) -> tuple[list[float], int]:
    """The milliseconds of a tick on each of these, and how many queries the last one made."""
    taken: list[list[float]] = [[] for _ in registers]
    for _ in range(_TICKS):
        for services, durations in zip(registers, taken, strict=True):
            messages = _Messages()
            began = time.perf_counter()
            due = find_due(services)
            send_keys(messages, due.registered)
            send_keys(messages, due.removed)
            durations.append((time.perf_counter() - began) * 1000)
            assert len(messages.bodies) == _DUE
    asked: list[str] = []
    engine = registers[-1].database.engine

    def count(*told: Any) -> None:
        if not told[2].startswith("BEGIN"):
            asked.append(told[2])

    event.listen(engine, "before_cursor_execute", count)
    find_due(registers[-1])
    event.remove(engine, "before_cursor_execute", count)
    return [statistics.median(durations) for durations in taken], len(asked)


def _plan(services: Services) -> float:
    """The milliseconds that it takes to do what is due of an organization."""
    due = find_due(services).registered
    began = time.perf_counter()
    planned = [plan_for(services, key) for key in due]
    taken = time.perf_counter() - began
    assert all(plan.slices or plan.parity_checks for plan in planned)
    assert not any(find_due(services))
    return taken * 1000 / len(due)
