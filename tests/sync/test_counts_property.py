"""Whatever comes on the pages of whatever runs: the counts keep what graph.md §3.5 promises; the entries are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from shared.cache import escrows, held_deletions, pages, runs, slices, sweep
from shared.cache import tables as t
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, Part, PartName
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LEASE, NOW, RETRY, Cache, end_run, opened_cache

PEOPLE, GROUPS, SITES = "abcd", "ghi", "st"
IDS = {"users": PEOPLE, "groups": GROUPS, "sites": SITES}
LIVE_OBJECTS = (t.objects.c.soft_deleted_at.is_(None), t.objects.c.deleted_at.is_(None))
_number = count(1)


@dataclass(frozen=True)
class Pass:
    """A run of one part.

    Attributes:
        pages: What the delta query brings; of each object an ``ObjectRecord`` or, where its record is broken, its id.
        deleted: What the list of soft-deleted objects brings, in a full run; None where Graph refuses it.
        threshold: How many deletions are carried out unasked.
        approved: Whether somebody approves at its beginning what is held back.
        completed: Whether the run comes to its end.
    """

    part: PartName
    type: RunType
    pages: list[list[ObjectRecord | str]]
    deleted: list[ObjectRecord] | None
    threshold: int | None
    approved: bool
    completed: bool


def _properties(part: Part) -> st.SearchStrategy[dict[str, Any]]:
    names: dict[str, st.SearchStrategy[Any]] = {"displayName": st.sampled_from("xyz")}
    if part.name is PartName.TEAMS:
        names["resourceProvisioningOptions"] = st.sampled_from([["Team"], ["Team"], []])
        everything = st.fixed_dictionaries(names).map(lambda some: dict.fromkeys(part.properties) | some)
        return st.one_of(st.fixed_dictionaries({}, optional=names), everything)
    return st.fixed_dictionaries({}, optional=names)


@st.composite
def _records(draw: st.DrawFn, part: Part, object_id: str) -> ObjectRecord | str:
    kind = draw(st.sampled_from(["live"] * 5 + ["soft", "hard", "broken"]))
    if kind == "broken":
        return object_id
    links = [
        LinkChange(relation, target, draw(st.sampled_from(["#microsoft.graph.user", None])), draw(st.booleans()))
        for relation in part.relations
        for target in draw(st.lists(st.sampled_from(PEOPLE + GROUPS), max_size=3))
        if target != object_id
    ]
    removal = {"soft": Removal.SOFT_DELETED, "hard": Removal.HARD_DELETED}.get(kind)
    return ObjectRecord(
        object_id,
        {"id": object_id, **draw(_properties(part))} if removal is None else {},
        removal,
        occurrences=draw(st.sampled_from([1, 1, 1, 2, 3])),
        links=links if removal is None else [],
        links_complete=draw(st.sampled_from([False, False, True])) and removal is None,
    )


@st.composite
def _pages(draw: st.DrawFn, part: Part) -> list[ObjectRecord | str]:
    ids = draw(st.lists(st.sampled_from(IDS[part.collection]), unique=True, max_size=4))
    return [draw(_records(part, object_id)) for object_id in ids]


@st.composite
def _passes(draw: st.DrawFn) -> Pass:
    part = CATALOGUE[draw(st.sampled_from(PartName))]
    resting = draw(st.none() | st.lists(st.sampled_from(IDS[part.collection]), unique=True, max_size=2))
    return Pass(
        part.name,
        draw(st.sampled_from(RunType)),
        draw(st.lists(_pages(part), min_size=1, max_size=3)),
        None if resting is None or part.deleted_items is None else [_resting(object_id) for object_id in resting],
        draw(st.sampled_from([None, 0, 1, 500])),
        draw(st.booleans()),
        draw(st.sampled_from([True, True, True, False])),
    )


def _resting(object_id: str) -> ObjectRecord:
    return ObjectRecord(object_id, {"id": object_id, "displayName": "x"}, Removal.SOFT_DELETED)


@dataclass
class Received:
    """What a run was given, as the test counts it."""

    ids: set[str] = field(default_factory=set[str])
    records: int = 0
    links: int = 0

    def add(self, records: list[ObjectRecord], broken: list[str]) -> None:
        self.ids |= {record.object_id for record in records} | set(broken)
        self.records += sum(record.occurrences for record in records) + len(broken)
        self.links += sum(len(record.links) for record in records)


class Driver:
    """Makes the steps of runs as slices do, and looks at the counts after each."""

    def __init__(self, cache: Cache, organization: Organization) -> None:
        self.cache = cache
        self.organization = organization

    def make(self, one: Pass) -> None:
        if one.approved:
            self.cache.write(lambda c: held_deletions.approve(c, self.organization.key))
        work = self.cache.begin(self.organization, one.part, one.type)
        received = Received()
        full = work.type is RunType.FULL
        brought = [*one.pages, one.deleted] if full and one.deleted else one.pages
        for page in brought:
            records = [item for item in page if isinstance(item, ObjectRecord)]
            broken = [item for item in page if isinstance(item, str)]
            received.add(records, broken)
            self.step(work, received, lambda c, r=records, b=broken: (_apply(c, work, r, b), None))
        if not one.completed:
            # The run fails, and another one begins anew.
            self.end(work, received, RunStatus.FAILED)
            return
        if full and work.part.keeps_objects:
            too = one.deleted is not None or work.part.deleted_items is None
            self.steps(work, received, lambda c, w: pages.sweep_objects(c, w, NOW, soft_deleted_too=too))
        if work.type is RunType.FULL:
            self.cache.write(lambda c: escrows.forget_unseen(c, work))
        self.steps(work, received, lambda c, w: _carry_out(c, w, one.threshold))
        if full and work.part.relations:
            self.steps(work, received, lambda c, w: pages.sweep_links(c, w, NOW))
        self.end(work, received, RunStatus.SUCCEEDED)

    def steps(
        self, work: Slice, received: Received, step: Callable[[Connection, Slice], tuple[Counts, str | None]]
    ) -> None:
        cursor = None
        while True:
            cursor = self.step(work, received, lambda c, at=cursor: step(c, replace(work, cursor=at)))
            if cursor is None:
                return

    def step(
        self, work: Slice, received: Received, body: Callable[[Connection], tuple[Counts, str | None]]
    ) -> str | None:
        """A transaction, and what is true after it."""

        def transaction(connection: Connection) -> str | None:
            counts, cursor = body(connection)
            assert min(counts.as_dict().values()) >= 0
            slices.advance(connection, work, counts, NOW, LEASE)
            return cursor

        cursor = self.cache.write(transaction)
        self.check(work, received)
        return cursor

    def end(self, work: Slice, received: Received, status: RunStatus) -> None:
        ended = replace(work, delta_link="https://graph/delta")
        error = None if status is RunStatus.SUCCEEDED else SynchronizationError(code="x", message="y")

        def transaction(connection: Connection) -> None:
            while sweep.forget_seen(connection, ended):
                pass
            slices.finish_part(connection, ended, status, error, escrows.count(connection, work), NOW)
            end_run(connection, work, status, error, NOW)

        self.cache.write(transaction)
        counts = self.check(work, received)
        if error is None:
            waiting = self.cache.read(lambda c: held_deletions.count(c, work))
            assert counts.exports - counts.exported == waiting

    def check(self, work: Slice, received: Received) -> Counts:
        counts = self.shown(work)
        assert counts.exported <= counts.exports
        assert counts.escrowed <= counts.escrowed_raw
        assert counts.imported_reference_deltas <= counts.imported_deltas
        assert counts.entitled_for_provisioning <= counts.entitled <= counts.imported
        assert counts.imported_reference_deltas == received.links
        assert counts.imported_deltas == received.records + received.links
        if work.part.keeps_objects:
            assert counts.imported == len(received.ids)
        assert len(received.ids) <= counts.imported <= received.records
        # In a full run that names each object once they are the same, but for link changes, which are deltas as well.
        if work.type is RunType.FULL and received.records == len(received.ids):
            assert counts.imported_deltas == counts.imported + counts.imported_reference_deltas
        self.check_entries()
        self.check_held(work)
        return counts

    def shown(self, work: Slice) -> Counts:
        """The part's counts in the run, as people see them."""
        run = self.cache.read(lambda c: runs.find(c, self.organization, work.run_id))
        assert run is not None
        (part,) = run.parts
        return part.counts

    def check_entries(self) -> None:
        key = self.organization.key

        def read(connection: Connection) -> tuple[dict[str, int], dict[str, int], int]:
            kept = select(t.parts.c.part, t.parts.c.entry_count).where(t.parts.c.organization_id == key)
            rows = (
                select(t.objects.c.part, func.count().label("number"))
                .where(t.objects.c.organization_id == key, *LIVE_OBJECTS)
                .group_by(t.objects.c.part)
            )
            members = select(func.count()).where(
                t.links.c.organization_id == key, t.links.c.relation == "members", t.links.c.deleted_at.is_(None)
            )
            return (
                {row.part: row.entry_count for row in connection.execute(kept)},
                {row.part: row.number for row in connection.execute(rows)},
                connection.execute(members).scalar_one(),
            )

        kept, rows, members = self.cache.read(read)
        assert kept == {name: members if name is PartName.GROUP_MEMBERS else rows.get(name, 0) for name in PartName}

    def check_held(self, work: Slice) -> None:
        """Of a deletion that waits the object is still there."""
        held = self.cache.read(lambda c: held_deletions.list_all(c, self.organization.key, 0, 100))
        for part in (part for part in CATALOGUE.values() if part.keeps_objects):
            waiting = {deletion.object_id for deletion in held if deletion.part is part.name}
            assert waiting <= self.cache.live_objects(self.organization, part.name)


def _apply(connection: Connection, work: Slice, records: list[ObjectRecord], broken: list[str]) -> Counts:
    error = SynchronizationError(code="MalformedRecord", message="It cannot be read.")
    failures = [BrokenRecord(object_id, error, orjson.dumps({"id": object_id})) for object_id in broken]
    return pages.apply_page(connection, work, Page(records, None, None, failures), NOW, RETRY)


def _carry_out(connection: Connection, work: Slice, threshold: int | None) -> tuple[Counts, str | None]:
    counts, left = pages.carry_out_deletions(connection, work, NOW, threshold)
    return counts, "more" if left else None


@contextmanager
def driver(cache: Cache) -> Iterator[Driver]:
    """An organization of its own for each example."""
    yield Driver(cache, cache.register(next(_number)))


@pytest.fixture
def cache(database_url: str) -> Iterator[Cache]:
    with opened_cache(database_url) as opened:
        yield opened


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(passes=st.lists(_passes(), min_size=1, max_size=4))
def test_the_counts_keep_their_promises_after_every_step_of_random_runs(cache: Cache, passes: list[Pass]) -> None:
    with driver(cache) as driven:
        for one in passes:
            event(f"{one.part} {one.type}")
            driven.make(one)
