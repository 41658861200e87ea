"""The organization cache for a test: organizations, runs of single parts, and the rows as they then are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, event, select

from shared.cache import organizations, pages, runs, slices, sweep, waiting_parts
from shared.cache import tables as t
from shared.cache.database import Database
from shared.cache.escrows import EscrowCounts
from shared.models.organizations import Organization, OrganizationRegistration
from shared.models.parts import PartName, Relation
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal
from shared.models.retries import RetryPolicy
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.slices import Slice, SliceMessage, Stage
from shared.models.synchronization import SynchronizationError
from tests.application import APPLICATION

T = TypeVar("T")

RETRY = RetryPolicy(timedelta(minutes=30), timedelta(hours=24))
NONE_ESCROWED = EscrowCounts(0, 0)
NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
LEASE = timedelta(minutes=2)
REQUEUE = timedelta(minutes=5)


def live(object_id: str, **properties: Any) -> ObjectRecord:
    """An object as Graph sends it."""
    told = {"id": object_id, **(properties or {"displayName": f"Name of {object_id}"})}
    return ObjectRecord(object_id, told, digest=blake2b(orjson.dumps(told), digest_size=16).digest())


def soft_deleted(object_id: str, **properties: Any) -> ObjectRecord:
    return ObjectRecord(object_id, {"id": object_id, **properties} if properties else {}, Removal.SOFT_DELETED)


def hard_deleted(object_id: str) -> ObjectRecord:
    return ObjectRecord(object_id, removal=Removal.HARD_DELETED)


def with_links(
    group: str, *targets: str, removed: bool = False, relation: Relation = "members", **properties: Any
) -> ObjectRecord:
    """A group with a slice of its members, or owners."""
    changes = [LinkChange(relation, target, "#microsoft.graph.user", removed) for target in targets]
    return ObjectRecord(group, {"id": group, **properties} if properties else {}, links=changes)


def end_run(
    connection: Connection, work: Slice, status: RunStatus, error: SynchronizationError | None, now: datetime
) -> None:
    run = runs.find(connection, work.organization, work.run_id)
    assert run is not None
    runs.finish(connection, work.organization.key, replace(run, status=status, error=error), now)


class Cache:
    """A cache database."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)

    def write(self, body: Callable[[Connection], T]) -> T:
        with self.database.write() as connection:
            return body(connection)

    def read(self, body: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return body(connection)

    def register(self, number: int = 1, **changed: Any) -> Organization:
        document = {"tenantId": str(UUID(int=number)), "name": f"contoso{number}.com", "application": APPLICATION}
        registration = OrganizationRegistration.model_validate({**document, **changed})
        return self.write(lambda c: organizations.register(c, registration, timedelta(minutes=40), 500, NOW))

    def queue(
        self, organization: Organization, *parts: PartName, run_type: RunType = RunType.FULL, now: datetime = NOW
    ) -> list[SliceMessage]:
        """Creates a run and returns its messages."""

        def body(connection: Connection) -> list[SliceMessage]:
            run_id = runs.create(connection, organization, run_type, dict.fromkeys(parts, run_type), now)
            return waiting_parts.enqueue(connection, organization.key, run_id, now, REQUEUE)

        return self.write(body)

    def take(self, message: SliceMessage, now: datetime = NOW) -> Slice | None:
        return self.write(lambda c: slices.take(c, message, now, LEASE))

    def begin(
        self,
        organization: Organization,
        part: PartName = PartName.USERS,
        run_type: RunType = RunType.FULL,
        now: datetime = NOW,
    ) -> Slice:
        """Starts a run of one part."""
        (message,) = self.queue(organization, part, run_type=run_type, now=now)
        work = self.take(message, now)
        assert work is not None
        return work

    def apply(self, work: Slice, *records: ObjectRecord, now: datetime = NOW) -> Counts:
        """Applies a page as a slice does, and carries out its deletions as the end of the run does."""
        return self.apply_page(work, *records, now=now) + self.carry_out_deletions(work, now=now)

    def apply_page(
        self, work: Slice, *records: ObjectRecord, broken: Sequence[BrokenRecord] = (), now: datetime = NOW
    ) -> Counts:
        """Applies a page, as a slice does: rows, counters and lease in one transaction.

        An object that comes again begins another page: on one page, each comes once.
        """

        def body(connection: Connection) -> Counts:
            rest, counts = list(records), Counts()
            while True:
                ids = [record.object_id for record in rest]
                count = next((place for place, one in enumerate(ids) if one in ids[:place]), len(ids))
                page = Page(rest[:count], next_link=None, delta_link=None, broken=() if rest[count:] else broken)
                counts += pages.apply_page(connection, work, page, now, RETRY)
                rest = rest[count:]
                if not rest:
                    break
            slices.advance(connection, work, counts, now, LEASE)
            return counts

        return self.write(body)

    def carry_out_deletions(self, work: Slice, threshold: int | None = None, now: datetime = NOW) -> Counts:
        """Every step of the stage deletions, each in a transaction of its own."""
        total, left = Counts(), True
        while left:
            counts, left = self.write(lambda c: pages.carry_out_deletions(c, work, now, threshold))
            total += counts
        return total

    def listed(self, work: Slice, stage: Stage = Stage.SWEEP_ALL) -> Slice:
        """The listing ended with a deltaLink."""
        ended = replace(work, stage=stage, cursor=None, delta_link="https://graph/delta")
        self.write(lambda c: slices.advance(c, ended, Counts(), NOW, LEASE))
        return ended

    def sweep(self, work: Slice, *, soft_deleted_too: bool = True, now: datetime = NOW) -> Counts:
        """Every step of both sweeps, each in a transaction of its own."""
        total = Counts()

        def objects(connection: Connection) -> tuple[Counts, str | None]:
            return pages.sweep_objects(connection, work, now, soft_deleted_too=soft_deleted_too)

        def links(connection: Connection) -> tuple[Counts, str | None]:
            return pages.sweep_links(connection, work, now)

        for step in [objects] * work.part.keeps_objects + [links] * bool(work.part.relations):
            work = replace(work, cursor=None)
            if step is links:
                total += self.carry_out_deletions(work, now=now)
            while True:
                counts, cursor = self.write(step)
                total += counts
                if cursor is None:
                    break
                work = replace(work, cursor=cursor)
        return total + self.carry_out_deletions(work, now=now)

    def finish(self, work: Slice, now: datetime = NOW) -> None:
        """Ends the part, and its run."""
        ended = replace(work, delta_link=work.delta_link or "https://graph/delta")

        def body(connection: Connection) -> None:
            while sweep.forget_seen(connection, ended):
                pass
            slices.finish_part(connection, ended, RunStatus.SUCCEEDED, None, NONE_ESCROWED, now)
            end_run(connection, work, RunStatus.SUCCEEDED, None, now)

        self.write(body)

    def run(
        self,
        organization: Organization,
        part: PartName,
        *page: ObjectRecord,
        run_type: RunType = RunType.FULL,
        now: datetime = NOW,
    ) -> Counts:
        """A whole run of one part that receives one page; a full one sweeps at its end."""
        work = self.begin(organization, part, run_type, now)
        counts = self.apply(work, *page, now=now)
        if run_type is RunType.FULL:
            work = self.listed(work)
            counts += self.sweep(work, now=now)
        self.finish(work, now)
        return counts

    def objects(self, organization: Organization, part: PartName = PartName.USERS) -> dict[str, Row[Any]]:
        mine = (t.objects.c.organization_id == organization.key, t.objects.c.part == part)
        return {row.object_id: row for row in self.read(lambda c: c.execute(select(t.objects).where(*mine)).all())}

    def links(self, organization: Organization) -> dict[tuple[str, str], Row[Any]]:
        rows = self.read(
            lambda c: c.execute(select(t.links).where(t.links.c.organization_id == organization.key)).all()
        )
        return {(row.source_id, row.target_id): row for row in rows}

    def live_links(self, organization: Organization) -> set[tuple[str, str]]:
        return {ends for ends, row in self.links(organization).items() if row.deleted_at is None}

    def live_objects(self, organization: Organization, part: PartName = PartName.USERS) -> set[str]:
        return {
            name
            for name, row in self.objects(organization, part).items()
            if row.deleted_at is None and row.soft_deleted_at is None
        }

    def entries(self, organization: Organization, part: PartName = PartName.USERS) -> int:
        """The number of live entries that the states show."""
        mine = (t.parts.c.organization_id == organization.key, t.parts.c.part == part)
        return self.read(lambda c: c.execute(select(t.parts.c.entry_count).where(*mine)).scalar_one())


@contextmanager
def opened_cache(url: str) -> Iterator[Cache]:
    cache = Cache(url)
    try:
        yield cache
    finally:
        cache.database.close()


@contextmanager
def listened(cache: Cache) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed meanwhile, with their parameters."""
    heard: list[tuple[str, Any]] = []

    def listen(*told: Any) -> None:
        heard.append((told[2], told[3]))

    event.listen(cache.database.engine, "before_cursor_execute", listen)
    try:
        yield heard
    finally:
        event.remove(cache.database.engine, "before_cursor_execute", listen)
