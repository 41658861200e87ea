"""Runs whose worker is killed at random points, beside a twin of the cache whose worker never is."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from sqlalchemy import Row, select

from local.comparison import compare
from local.tenant import Directory, Options, TenantServer
from local.tenant.state import RequestCounters
from shared.cache import organizations
from shared.cache.database import Database
from shared.cache.links import LINKED_PARTS
from shared.cache.tables import run_parts, runs
from shared.models.organizations import OrganizationRegistration
from shared.models.parts import CATALOGUE, PartName
from tests.application import APPLICATION, NAME
from tests.databases import Databases, Kind
from tests.reliability.worker import Life, Worker, worker

TYPES = ("Full", "Incremental", "Incremental")
# What was received and applied. What was written for it is not told part by part: whichever of two parts comes first
# takes the links of an object along.
COUNTS = ("imported", "imported_deltas", "imported_reference_deltas", "entitled", "escrowed_raw")
MOST_COMMITS = 16
MOST_SECONDS_BEYOND = 0.006
# A group that has become a team is read in the run after the one that told so, its channels in the one after that.
RUNS_TO_CONVERGE = 3
# Longer than a lease and than a message may go unanswered: what the dead life held is free for the next one.
SECONDS_BETWEEN_LIVES = 1_000.0


class PageLog(RequestCounters):
    """Remembers which pages of delta queries were served, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[str] = []

    def count_page(self, url: str) -> None:
        super().count_page(url)
        self.served.append(url)


@dataclass
class KillFigures:
    """What a campaign came to.

    Attributes:
        kills: Lives ended by SIGKILL, by the type of the run.
        runs: Runs that were finished all the same, by type.
        stages: What the parts were at, whose slices were killed.
        pages: Delta pages that the runs needed.
        by_kill: How often a life that read a part after a kill had so many of the part's pages served once more.
        seconds: How long it took.
    """

    kills: Counter[str] = field(default_factory=Counter[str])
    runs: Counter[str] = field(default_factory=Counter[str])
    stages: Counter[str] = field(default_factory=Counter[str])
    pages: int = 0
    by_kill: Counter[int] = field(default_factory=Counter[int])
    seconds: float = 0.0

    def __add__(self, other: KillFigures) -> KillFigures:
        return KillFigures(
            self.kills + other.kills,
            self.runs + other.runs,
            self.stages + other.stages,
            self.pages + other.pages,
            self.by_kill + other.by_kill,
            self.seconds + other.seconds,
        )

    @property
    def read_again(self) -> int:
        """Pages that were served once more because of a kill."""
        return sum(number * times for number, times in self.by_kill.items())

    def told(self) -> str:
        """The figures in one line."""
        kills, finished = self.kills.total(), self.runs.total()
        stages = ", ".join(f"{stage} {number}" for stage, number in self.stages.most_common())
        costs = ", ".join(f"{number} page(s): {times}" for number, times in sorted(self.by_kill.items()))
        return (
            f"{kills} kills ({_by_type(self.kills)}) in {finished} runs ({_by_type(self.runs)}), {self.seconds:.0f} s; "
            f"{self.pages} pages needed, {self.read_again} read again; by kill and part that was reading: {costs}; "
            f"killed at: {stages}"
        )


class Killing:
    """One cache whose worker is killed, its twin, and the tenant of both."""

    def __init__(self, databases: Databases, kind: Kind, seed: int, opened: ExitStack) -> None:
        self.random = random.Random(seed)
        self.figures = KillFigures()
        directory = Directory(users=160, groups=14, sites=12, seed=1 + seed % 1000)
        self.tenant = opened.enter_context(TenantServer(directory, Options(page_size=5, member_slice=6, latency_ms=2)))
        self.control = opened.enter_context(httpx.Client(base_url=f"{self.tenant.url}/control", timeout=30))
        self.database, self.worker = self._cache(databases, kind, opened)
        self.twin_database, self.twin = self._cache(databases, "sqlite", opened)
        self.later = 0.0

    def _cache(self, databases: Databases, kind: Kind, opened: ExitStack) -> tuple[Database, Worker]:
        url = opened.enter_context(databases.fresh(kind))
        database = Database(url)
        opened.callback(database.close)
        register(database, self.tenant)
        return database, opened.enter_context(worker(url, self.tenant.url, GRAPH_PAGE_SIZE="5"))

    def load(self) -> None:
        """The initial run of both: what the workers' later lives are forks of."""
        for each in (self.worker, self.twin):
            each.begin(Life(self.later, "Full", NAME))
            assert each.outcome() == 0

    def run(self, number: int) -> None:
        """Changes the tenant and brings one run to its end, whatever it takes; then judges it by its twin.

        A group that was restored has the links read in full: in this run if it is found before they begin, else in the
        next. Where it came early in one of the two caches only, the links are left to the end's judgement.
        """
        kind = TYPES[number % len(TYPES)]
        self.control.post("/mutate", json={"count": 60, "seed": number}).raise_for_status()
        log = self.tenant.tenant.requests = PageLog()
        served: set[str] = set()
        while not self._is_finished(number):
            before = len(log.served)
            killed = self._live(kind if not self._has_begun(number) else None)
            pages = log.served[before:]
            if served:
                self._count_cost([page for page in pages if page in served], pages)
            served.update(pages)
            if killed:
                self.figures.kills[kind] += 1
                self.figures.stages.update(self._stages_under_lease())
        self.figures.runs[kind] += 1
        self.figures.pages += len(served)

        self.twin.begin(Life(self.later, kind, NAME))
        assert self.twin.outcome() == 0
        both = list(zip(finished_parts(self.database), finished_parts(self.twin_database), strict=True))
        early = [killed for killed, twin in both if killed.part in LINKED_PARTS and killed.type != twin.type]
        for killed, twin in both:
            if killed not in early:
                assert _told(killed) == _told(twin), f"{_told(killed)} after kills, else {_told(twin)}"
        if not early:
            assert self._differences(self.database) == self._differences(self.twin_database)

    def end(self) -> None:
        """Some runs that nobody disturbs: what a run learns of that takes another one to read is read then."""
        for _ in range(RUNS_TO_CONVERGE):
            self.worker.begin(Life(self.later, "Incremental", NAME))
            assert self.worker.outcome() == 0
        told = self._differences(self.database)
        assert told == [], told

    def _differences(self, database: Database) -> list[str]:
        return compare(database, self.tenant.url, NAME).differences

    def _live(self, start: str | None) -> bool:
        """One life, ended by SIGKILL unless it has nothing left to do before; whether it was killed."""
        left = self.random.randint(1, MOST_COMMITS)
        beyond = self.random.uniform(0, MOST_SECONDS_BEYOND)
        self.worker.begin(Life(self.later, start, NAME))
        for _ in self.worker.commits():
            left -= 1
            if left == 0:
                time.sleep(beyond)
                self.worker.end(signal.SIGKILL)
        self.later += SECONDS_BETWEEN_LIVES
        outcome = self.worker.outcome()
        assert outcome in (0, -signal.SIGKILL)
        return outcome != 0

    def _count_cost(self, again: Sequence[str], pages: Sequence[str]) -> None:
        costs = Counter(self._part_of(page) for page in again)
        for part in {self._part_of(page) for page in pages}:
            self.figures.by_kill[costs[part]] += 1

    def _part_of(self, page: str) -> str:
        parts = urlsplit(page)
        options = {name.removeprefix("$"): value for name, value in parse_qsl(parts.query)}
        token = options.get("skiptoken") or options.get("deltatoken") or options.get("token")
        names = self.tenant.tenant.signer.read_cursor(token).names if token else options["select"].split(",")
        collection = parts.path.split("/")[2]
        return next(
            part.name
            for part in CATALOGUE.values()
            if part.source is None and part.collection == collection and set(part.select) == set(names or ())
        )

    def _has_begun(self, number: int) -> bool:
        with self.database.read() as connection:
            return len(connection.execute(select(runs.c.run_id)).all()) > number

    def _is_finished(self, number: int) -> bool:
        with self.database.read() as connection:
            return len(connection.execute(select(runs.c.run_id).where(runs.c.ended_at.is_not(None))).all()) > number

    def _stages_under_lease(self) -> list[str]:
        with self.database.read() as connection:
            return list(
                connection.execute(select(run_parts.c.stage).where(run_parts.c.lease_until.is_not(None))).scalars()
            )


def finished_parts(database: Database) -> Sequence[Row[Any]]:
    """The parts of the last run, which has succeeded, that are read by delta queries.

    When the others ask about an object again depends on the time, which kills take.
    """
    with database.read() as connection:
        run = connection.execute(select(runs).order_by(runs.c.queued_at.desc()).limit(1)).one()
        parts = connection.execute(
            select(run_parts).where(run_parts.c.run_id == run.run_id).order_by(run_parts.c.part)
        ).all()
    assert {part.status for part in parts} == {run.status} == {"Succeeded"}
    return [part for part in parts if CATALOGUE[PartName(part.part)].source is None]


def campaign(databases: Databases, kind: Kind, kills: int, seed: int) -> KillFigures:
    """Kills a worker on this engine at least so many times, and returns what it came to.

    Raises:
        AssertionError: Something was lost, or applied twice, or the cache does not equal the tenant.
    """
    began = time.monotonic()
    with ExitStack() as opened:
        killing = Killing(databases, kind, seed, opened)
        killing.load()
        for number in count(1):
            killing.run(number)
            if killing.figures.kills.total() >= kills:
                break
        killing.end()
    killing.figures.seconds = time.monotonic() - began
    return killing.figures


def register(database: Database, tenant: TenantServer) -> None:
    """Registers the tenant as the database's organization, with nobody to start it but the test."""
    document = {"tenantId": tenant.directory.tenant_id, "name": NAME, "application": APPLICATION}
    registration = OrganizationRegistration.model_validate(document)
    with database.write() as connection:
        organizations.register(connection, registration, timedelta(days=600), 500, datetime.now(UTC))


def _told(part: Row[Any]) -> dict[str, Any]:
    return {"part": part.part, "type": part.type, **{name: part._mapping[name] for name in COUNTS}}


def _by_type(numbers: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items()))
