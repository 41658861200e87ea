"""Eight workers on one PostgreSQL beside the database's own limit, and where the processors' time goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from uuid import UUID

from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import ROOT, Product, Tenant, Workbench, processor_seconds
from tests.databases import connect

_WORKERS = 8
_ORGANIZATIONS = 8
"""Of each worker."""
_USERS = 2_500
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Load:
    """So many rows written, and the seconds that took: by the clock, and of processors by who used them."""

    rows: int
    seconds: float
    writers: float
    tenant: float
    database: float
    waiting_for_locks: float = 0.0

    @property
    def speed(self) -> float:
        return self.rows / self.seconds

    @property
    def processors(self) -> float:
        return (self.writers + self.tenant + self.database) / self.seconds


def measure(bench: Workbench) -> list[Result]:
    users = min(bench.users, _USERS)
    cores = len(os.sched_getaffinity(0))
    with bench.tenant(users) as tenant:
        limit = _copy_limit(bench, tenant, users)
        product = _product(bench, tenant, users)
    number = _WORKERS * _ORGANIZATIONS
    result = Result(10, f"{_WORKERS} workers with {number} organizations on one PostgreSQL")
    result.figures += [
        Figure("workers", product.speed, "objects/s"),
        Figure("the database's limit: COPY by as many processes", limit.speed, "rows/s"),
        Figure("workers, sessions that wait for another's lock, on average", product.waiting_for_locks, ""),
    ]
    for name, load in (("workers", product), ("limit", limit)):
        result.figures += [
            Figure(f"{name}, processors in use of {cores}", load.processors, ""),
            Figure(f"{name}, processor time of the writers", load.writers * 1e6 / load.rows, "µs/row"),
            Figure(f"{name}, processor time of PostgreSQL", load.database * 1e6 / load.rows, "µs/row"),
            Figure(f"{name}, processor time of the tenant", load.tenant * 1e6 / load.rows, "µs/row"),
        ]
    result.judge_at_least("workers / the database's limit", product.speed / limit.speed, 0.8, "%")
    # What the same processors would carry if PostgreSQL took for a row what it takes in the limit.
    elsewhere = (product.writers + product.tenant) / product.rows
    bound = cores / (elsewhere + limit.database / limit.rows)
    alone = cores * product.rows / product.database
    result.figures += [
        Figure(
            f"computed: what {cores} cores carry with a database that takes for a row what the limit's takes",
            bound,
            "objects/s",
        ),
        Figure(f"computed: what PostgreSQL carries with {cores} cores of its own", alone, "objects/s"),
    ]
    result.judge_at_least(
        f"workers / what {cores} cores carry beside a database at its limit", product.speed / bound, 0.8, "%"
    )
    result.remarks += [
        f"{number} organizations of {users:,} users each, all started at once, {_ORGANIZATIONS} at each worker; a "
        "worker is a process with queues of its own. The limit writes the same rows from memory, a page a transaction.",
        f"All of it shares {cores} cores. The workers and the tenant take {elsewhere * 1e6:.0f} µs of them for an "
        f"object before PostgreSQL has done anything: these cores carry no more than {bound / limit.speed:.0%} of the "
        "limit, however little the database does. With the workers elsewhere, PostgreSQL's own time would allow "
        f"{min(alone / limit.speed, 1):.0%}.",
    ]
    labels = ["workers", "limit"]
    used = {
        "writers": [product.writers * 1e6 / product.rows, limit.writers * 1e6 / limit.rows],
        "tenant": [product.tenant * 1e6 / product.rows, limit.tenant * 1e6 / limit.rows],
        "PostgreSQL": [product.database * 1e6 / product.rows, limit.database * 1e6 / limit.rows],
    }
    result.plots.append(Plot("Processor time of a row", "µs", labels, used))
    return [result]


def _copy_limit(bench: Workbench, tenant: Tenant, users: int) -> _Load:
    with bench.databases.fresh("postgresql") as url, ExitStack() as opened:
        writers: list[subprocess.Popen[str]] = []
        for worker in range(_WORKERS):
            first = worker * _ORGANIZATIONS + 1
            arguments = [tenant.url, tenant.token(), url, str(first), str(first + _ORGANIZATIONS - 1)]
            command = [sys.executable, "-m", "benchmarks.copy_limit", *arguments]
            writer = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            opened.callback(writer.kill)
            writers.append(writer)
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        database, began = processor_seconds(bench.server_pid), time.perf_counter()
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("\n")
            writer.stdin.flush()
        printed = [writer.communicate()[0].split() for writer in writers]
        taken = time.perf_counter() - began
        rows = sum(int(count) for count, _ in printed)
        assert rows == users * _WORKERS * _ORGANIZATIONS
        used = sum(float(seconds) for _, seconds in printed)
        return _Load(rows, taken, used, 0.0, processor_seconds(bench.server_pid) - database)


def _product(bench: Workbench, tenant: Tenant, users: int) -> _Load:
    with bench.databases.fresh("postgresql") as url, ExitStack() as opened:
        workers = [
            opened.enter_context(bench.product(url, tenant, instances=_ORGANIZATIONS, many_tenants=True))
            for _ in range(_WORKERS)
        ]
        names = [[f"contoso{worker}-{index}.com" for index in range(_ORGANIZATIONS)] for worker in range(_WORKERS)]
        for index, worker in enumerate(workers):
            _prepare(worker, index, names[index])
        pids = [worker.process.pid for worker in workers]
        before = [processor_seconds(*group) for group in (pids, [tenant.pid], [bench.server_pid])]
        began = time.perf_counter()
        with ThreadPoolExecutor(_WORKERS) as threads:
            list(threads.map(_start, workers, names))
        waiting = _wait(url, _WORKERS * (_ORGANIZATIONS + 1))
        taken = time.perf_counter() - began
        after = [processor_seconds(*group) for group in (pids, [tenant.pid], [bench.server_pid])]
        used = [then - at_first for at_first, then in zip(before, after, strict=True)]
        with closing(connect(url)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM objects WHERE part = 'users'").fetchone() or (0,)
        assert rows == users * _WORKERS * (_ORGANIZATIONS + 1)
        return _Load(users * _WORKERS * _ORGANIZATIONS, taken, *used, waiting_for_locks=waiting)


def _prepare(worker: Product, number: int, names: Sequence[str]) -> None:
    """Registers the worker's organizations, and has it load what it needs: how long that takes is not the question."""
    first = number * (_ORGANIZATIONS + 1) + 1
    for index, name in enumerate(names):
        worker.register(str(UUID(int=first + index)), ["users"], name)
    worker.register(str(UUID(int=first + len(names))), ["users"], f"warm-up{number}.com")
    worker.run("Full", f"warm-up{number}.com")


def _start(worker: Product, names: Sequence[str]) -> None:
    for name in names:
        worker.start("Full", name)


def _wait(url: str, runs: int) -> float:
    """Waits until so many runs have succeeded; tells how many sessions waited for a lock, on average."""
    ended = "SELECT count(*) FILTER (WHERE status = 'Succeeded'), count(*) FILTER (WHERE error_code <> '') FROM runs"
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'active' AND wait_event_type IN ('Lock', 'LWLock')"
    )
    seen: list[int] = []
    with closing(connect(url)) as connection:
        while True:
            succeeded, failed = connection.execute(ended).fetchone() or (0, 0)
            assert not failed
            if succeeded == runs:
                return sum(seen) / max(len(seen), 1)
            seen.append((connection.execute(waiting).fetchone() or (0,))[0])
            time.sleep(_LOOK_SECONDS)
