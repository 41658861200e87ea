"""The budget that all slices of an organization share: until when Graph asked a family of services not to be asked.

Microsoft Graph counts an application's requests in each tenant and service by themselves (graph.md §6), so a wait that
one slice is told is everybody's, in whichever process they are. Waits that the SDK sits through are not kept.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from shared.cache import bulk
from shared.cache.tables import throttles
from shared.models.parts import Family


def until(connection: Connection, key: int, family: Family, now: datetime) -> datetime | None:
    """When the organization may ask these services again; None if it may now."""
    return connection.execute(
        select(throttles.c.until).where(
            throttles.c.organization_id == key, throttles.c.family == family, throttles.c.until > now
        )
    ).scalar_one_or_none()


def extend(connection: Connection, key: int, family: Family, until: datetime) -> None:
    """Has every slice wait until then; a longer wait that is there already stays."""
    wait = bulk.merging(connection, throttles).values(organization_id=key, family=family, until=until)
    connection.execute(
        wait.on_conflict_do_update(
            index_elements=list(throttles.primary_key),
            set_={"until": wait.excluded.until},
            where=throttles.c.until < wait.excluded.until,
        )
    )
