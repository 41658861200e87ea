"""What a full run puts aside: received beside the visible cache, applied once the listing is complete."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from shared.cache.tables import staged_pages
from shared.models.documents import Document
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError

_FASTEST = 1
_PAGES_PER_TRANSACTION = 100


@dataclass(frozen=True, slots=True)
class StagedPage:
    """What was put aside of a page.

    Attributes:
        number: Its place in the order in which the pages came.
        page: What it says; it leads nowhere.
    """

    number: int
    page: Page


def put(connection: Connection, work: Slice, records: Sequence[ObjectRecord], broken: Sequence[BrokenRecord]) -> int:
    """Puts aside what is to be applied of a page, and returns how many objects that is about."""
    count = len(records) + len(broken)
    if count == 0:
        return 0
    last = connection.execute(select(func.max(staged_pages.c.number)).where(_of_generation(work))).scalar_one()
    connection.execute(
        insert(staged_pages).values(
            organization_id=work.organization.key,
            part=work.part.name,
            generation=work.generation,
            number=(last or 0) + 1,
            objects=count,
            body=zlib.compress(_written(records, broken), _FASTEST),
        )
    )
    return count


def find_first(connection: Connection, work: Slice) -> StagedPage | None:
    """What is to be applied next of this run."""
    row = connection.execute(
        select(staged_pages).where(_of_generation(work)).order_by(staged_pages.c.number).limit(1)
    ).one_or_none()
    return None if row is None else StagedPage(row.number, _read(zlib.decompress(row.body)))


def remove(connection: Connection, work: Slice, number: int) -> None:
    """Takes out a page that has been applied."""
    connection.execute(delete(staged_pages).where(_of_generation(work), staged_pages.c.number == number))


def forget_abandoned(connection: Connection, work: Slice) -> bool:
    """Takes out the next pages of runs that were aborted before their listing was complete; False when none is left."""
    abandoned = (
        select(staged_pages.c.generation, staged_pages.c.number)
        .where(_of_part(work), staged_pages.c.generation < work.generation)
        .limit(_PAGES_PER_TRANSACTION)
    )
    rows = connection.execute(abandoned).all()
    for row in rows:
        connection.execute(
            delete(staged_pages).where(
                _of_part(work), staged_pages.c.generation == row.generation, staged_pages.c.number == row.number
            )
        )
    return bool(rows)


def _written(records: Sequence[ObjectRecord], broken: Sequence[BrokenRecord]) -> bytes:
    document = {
        "records": [
            (
                one.object_id,
                # By itself: within the page it may be nested more deeply than orjson writes.
                orjson.Fragment(
                    one.properties.json if isinstance(one.properties, Document) else orjson.dumps(one.properties)
                ),
                one.removal,
                one.occurrences,
                [tuple(link) for link in one.links],
                one.digest.hex(),
            )
            for one in records
        ],
        "broken": [(one.object_id, one.error.model_dump(mode="json"), one.raw.decode()) for one in broken],
    }
    return orjson.dumps(document)


def _read(body: bytes) -> Page:
    document = orjson.loads(body)
    records = [
        ObjectRecord(
            object_id,
            properties,
            None if removal is None else Removal(removal),
            occurrences,
            [LinkChange(*link) for link in links],
            digest=bytes.fromhex(digest),
        )
        for object_id, properties, removal, occurrences, links, digest in document["records"]
    ]
    broken = [
        BrokenRecord(object_id, SynchronizationError.model_validate(error), raw.encode())
        for object_id, error, raw in document["broken"]
    ]
    return Page(records, None, None, broken)


def _of_part(work: Slice) -> ColumnElement[bool]:
    return and_(staged_pages.c.organization_id == work.organization.key, staged_pages.c.part == work.part.name)


def _of_generation(work: Slice) -> ColumnElement[bool]:
    return and_(_of_part(work), staged_pages.c.generation == work.generation)
