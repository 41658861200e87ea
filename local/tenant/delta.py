"""Delta rounds: which records come on which page of an initial or incremental round."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast
from zlib import crc32

from local.tenant.changes import ChangedObject
from local.tenant.directory import RELATIONS, Relation, Resource
from local.tenant.state import Tenant
from local.tenant.tokens import Cursor

# A round ends although every page may be empty by chance.
_EMPTY_PAGES_IN_A_ROW = 3
_SECOND_SLICE_PROBABILITY = 0.3
_TYPES = ("#microsoft.graph.user", "#microsoft.graph.group")


@dataclass(slots=True)
class Page:
    """Records as JSON text, and the cursor of the link that ends the page."""

    records: list[str]
    next: Cursor

    @property
    def is_last(self) -> bool:
        return self.next.until is None


def begin(tenant: Tenant, cursor: Cursor) -> Cursor:
    """Open the round that a delta link, or a first request, stands for.

    The end of what an incremental round tells is fixed here. So is what the next delta link says:
    changes made while the round is read are told again by the next one rather than lost.
    """
    history = tenant.directory.history
    until = history.sequence
    limit = tenant.directory.objects(cast(Resource, cursor.resource)).size if cursor.since < 0 else 0
    return replace(cursor, until=until, fingerprint=history.fingerprint(until) or 0, limit=limit)


def end(cursor: Cursor) -> Cursor:
    """The delta link's cursor after a round."""
    assert cursor.until is not None
    return replace(
        cursor, since=cursor.until, until=None, position=0, limit=0, empties=0, pending=[], replays=[]
    )  # fmt: skip


def read_page(tenant: Tenant, cursor: Cursor, size: int) -> Page:
    return _Round(tenant, cursor, size).page()


class _Round:
    """One page of one round. All state is in the cursor, so any page can be asked for again."""

    def __init__(self, tenant: Tenant, cursor: Cursor, size: int) -> None:
        self._tenant = tenant
        self._cursor = cursor
        self._size = size
        self._directory = tenant.directory
        self._resource = cast(Resource, cursor.resource)
        self._objects = tenant.directory.objects(self._resource)
        names = self._objects.population.default_columns if cursor.names is None else cursor.names
        self._columns = tuple(name for name in names if name not in RELATIONS)
        self._relations: tuple[Relation, ...] = tuple(r for r in RELATIONS if r in names)
        self._projection = self._objects.projection(self._columns)
        self._plan = None if cursor.since < 0 else self._changes(tuple(names))
        self._end = cursor.limit if self._plan is None else len(self._plan)
        self._records: list[str] = []
        self._links = 0

    def _changes(self, names: tuple[str, ...]) -> list[ChangedObject]:
        cursor = self._cursor
        key = (self._resource, cursor.since, cursor.until, names)
        plan = self._tenant.plan(key)
        if plan is None:
            assert cursor.until is not None
            plan = self._objects.log.changed(cursor.since, cursor.until, frozenset(names))
            # Graph promises no order.
            random.Random(f"{self._directory.seed}/{cursor.since}/{cursor.until}").shuffle(plan)
            self._tenant.keep_plan(key, plan)
        return plan

    def _chance(self, probability: float, *what: object) -> bool:
        cursor = self._cursor
        text = f"{self._directory.seed}/{self._resource}/{cursor.since}/{cursor.until}/{what!r}"
        return crc32(text.encode()) < probability * 2**32

    @property
    def _has_room(self) -> bool:
        return len(self._records) < self._size and self._links < self._tenant.options.page_links

    def page(self) -> Page:
        cursor, options = self._cursor, self._tenant.options
        state = (cursor.position, cursor.empties, tuple(map(tuple, cursor.pending)), tuple(cursor.replays))
        if cursor.empties < _EMPTY_PAGES_IN_A_ROW and self._chance(options.empty_page_probability, "empty", state):
            return Page([], replace(cursor, empties=cursor.empties + 1))

        for position in cursor.replays:
            text, _ = self._first_record(position)
            if text is not None:
                self._records.append(text)

        pending: deque[list[Any]] = deque(cursor.pending)
        turns = len(pending) + (bool(pending) and self._chance(_SECOND_SLICE_PROBABILITY, "second slice", state))
        self._continue(pending, turns)

        position, replays = self._take_new(cursor.position, pending)
        if position >= self._end:
            self._continue(pending, None)
        if position < self._end or pending or replays:
            following = replace(cursor, position=position, empties=0, pending=list(pending), replays=replays)
        else:
            following = end(cursor)
        return Page(self._records, following)

    def _take_new(self, position: int, pending: deque[list[Any]]) -> tuple[int, list[int]]:
        """Objects not told yet, as many as there is room for; and which of them will be told twice."""
        if self._plan is None and not self._relations and self._resource != "sites":
            return self._walk_plain(position), []
        replays: list[int] = []
        probability = self._tenant.options.replay_probability
        while position < self._end and self._has_room:
            text, rest = self._first_record(position)
            if text is not None:
                self._records.append(text)
                pending.extend([position, relation, start] for relation, start in rest)
                if self._plan is not None and self._chance(probability, "replay", position):
                    replays.append(position)
            position += 1
        return position, replays

    def _walk_plain(self, position: int) -> int:
        """The hot path of an initial round: objects of which nothing but properties is told."""
        records, size, objects, generated = self._records, self._size, self._objects, self._projection.generated
        touched, gone, soft_deleted = objects.touched, objects.gone, objects.soft_deleted
        while position < self._end and len(records) < size:
            if position in gone or position in soft_deleted:
                text, _ = self._first_record(position)
                if text is not None:
                    records.append(text)
            elif position in touched:
                records.append(objects.render(self._projection, position))
            else:
                records.append(generated(position))
            position += 1
        return position

    def _entry(self, position: int) -> ChangedObject:
        """What is to be told at a position; in an initial round that is the whole object with all its links."""
        return ChangedObject(position, None, {}, True) if self._plan is None else self._plan[position]

    def _first_record(self, position: int) -> tuple[str | None, list[tuple[Relation, int]]]:
        """The record that opens an object, and the links that must follow in later records."""
        entry = self._entry(position)
        index = entry.index
        if self._objects.state(index) != "live":
            told = self._plan is not None or self._tenant.options.removed_in_initial_round
            return (self._removed(index) if told else None), []
        projection = self._projection
        if self._cursor.minimal and entry.properties is not None:
            projection = self._objects.projection(tuple(n for n in self._columns if n in entry.properties))
        text = self._objects.render(projection, index)
        if self._resource == "sites" and self._tenant.options.bare_site_ids:
            text = text.replace(self._objects.population.id(index), self._directory.sites.population.web_id(index), 1)
        rest: list[tuple[Relation, int]] = []
        has_links = False
        for relation in self._relations:
            links, following = self._link_slice(entry, relation, 0)
            if links:
                has_links = True
                text = f'{text[:-1]},"{relation}@delta":[{",".join(links)}]}}'
            if following is not None:
                rest.append((relation, following))
        nothing_to_tell = entry.properties is not None and not entry.properties and not has_links and not rest
        return (None if nothing_to_tell else text), rest

    def _removed(self, index: int) -> str:
        if self._resource == "sites":
            sites = self._directory.sites.population
            site_id = sites.web_id(index) if self._tenant.options.bare_site_ids else sites.id(index)
            return f'{{"id":"{site_id}","deleted":{{"state":"deleted"}}}}'
        reason = "changed" if self._objects.state(index) == "softDeleted" else "deleted"
        return f'{{"id":"{self._objects.population.id(index)}","@removed":{{"reason":"{reason}"}}}}'

    def _continue(self, pending: deque[list[Any]], turns: int | None) -> None:
        """Tell further slices of links, group by group in turn, while there is room."""
        while pending and self._has_room and turns != 0:
            position, relation, start = pending.popleft()
            entry = self._entry(position)
            if self._objects.state(entry.index) == "live":
                links, following = self._link_slice(entry, relation, start)
                if links:
                    group_id = self._objects.population.id(entry.index)
                    self._records.append(f'{{"id":"{group_id}","{relation}@delta":[{",".join(links)}]}}')
                if following is not None:
                    pending.append([position, relation, following])
            turns = None if turns is None else turns - 1

    def _link_slice(self, entry: ChangedObject, relation: Relation, start: int) -> tuple[list[str], int | None]:
        """Links from a position on: first the changed ones, then, for a whole group, all there are."""
        count = self._tenant.options.member_slice
        truth = self._directory.links
        changed = list(entry.links.get(relation, ()))
        if start < len(changed):
            stop = min(start + count, len(changed))
            told: list[str] = []
            for ref in changed[start:stop]:
                if truth.has(relation, entry.index, ref):
                    if not entry.restored:
                        told.extend(self._added([ref]))
                # A link that is still held, but whose object is gone, ended without a word.
                elif not truth.holds(relation, entry.index, ref):
                    told.append(f'{self._added([ref])[0][:-1]},"@removed":{{"reason":"deleted"}}}}')
            self._links += len(told)
            return told, stop if stop < len(changed) or entry.restored else None
        if not entry.restored:
            return [], None
        refs, following = truth.slice(relation, entry.index, start - len(changed), count)
        self._links += len(refs)
        return self._added(refs), None if following is None else following + len(changed)

    def _added(self, refs: Iterable[int]) -> list[str]:
        user_id, group_id = self._directory.users.population.id, self._directory.groups.population.id
        return [
            f'{{"@odata.type":"{_TYPES[ref & 1]}","id":"{group_id(ref >> 1) if ref & 1 else user_id(ref >> 1)}"}}'
            for ref in refs
        ]
