"""Pages that a full run puts aside: received beside the visible cache, applied once the listing is complete."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from shared.cache.tables import staged_pages
from shared.models.records import Page
from shared.models.slices import Slice

_FASTEST = 1
_PAGES_PER_TRANSACTION = 100


@dataclass(frozen=True, slots=True)
class StagedPage:
    """A page that waits.

    Attributes:
        number: Its place in the order in which the pages came.
        soft_deleted: Whether it is of the soft-deleted objects' listing.
        objects: How many objects it is about.
        body: The page as Graph sent it.
    """

    number: int
    soft_deleted: bool
    objects: int
    body: bytes


def put(connection: Connection, work: Slice, page: Page, *, soft_deleted: bool) -> int:
    """Puts a page aside and returns how many objects it is about."""
    last = connection.execute(select(func.max(staged_pages.c.number)).where(_of_generation(work))).scalar_one()
    count = len(page.records) + len(page.broken)
    connection.execute(
        insert(staged_pages).values(
            organization_id=work.organization.key,
            part=work.part.name,
            generation=work.generation,
            number=(last or 0) + 1,
            soft_deleted=soft_deleted,
            objects=count,
            body=zlib.compress(page.body, _FASTEST),
        )
    )
    return count


def find_first(connection: Connection, work: Slice) -> StagedPage | None:
    """The page of this run that is to be applied next."""
    row = connection.execute(
        select(staged_pages).where(_of_generation(work)).order_by(staged_pages.c.number).limit(1)
    ).one_or_none()
    return None if row is None else StagedPage(row.number, row.soft_deleted, row.objects, zlib.decompress(row.body))


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


def _of_part(work: Slice) -> ColumnElement[bool]:
    return and_(staged_pages.c.organization_id == work.organization.key, staged_pages.c.part == work.part.name)


def _of_generation(work: Slice) -> ColumnElement[bool]:
    return and_(_of_part(work), staged_pages.c.generation == work.generation)
