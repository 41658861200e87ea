"""The state of all registered organizations in numbers, read at once however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from shared.cache import escrows, held_deletions
from shared.cache.organizations import IS_REGISTERED, JOINED
from shared.cache.parity_columns import FOUND, read_parity
from shared.cache.tables import jobs, organizations, parts
from shared.models.measures import OrganizationMeasures, PartMeasures
from shared.models.parts import PartName
from shared.models.synchronization import ScheduleState, StatusCode

_STATES = (
    select(
        organizations.c.organization_id,
        organizations.c.name,
        organizations.c.parts.label("enabled"),
        organizations.c.registered_at,
        jobs.c.schedule_state,
        jobs.c.status_code,
        parts.c.part,
        parts.c.last_successful_at,
        *FOUND,
    )
    .select_from(JOINED.join(parts, parts.c.organization_id == organizations.c.organization_id))
    .where(IS_REGISTERED)
    .order_by(organizations.c.organization_id, parts.c.part)
)


def read(connection: Connection, now: datetime) -> Sequence[OrganizationMeasures]:
    """Every organization with its parts that are switched on."""
    put_aside, held_back = escrows.count_all(connection), held_deletions.count_held_back(connection)
    quarantined: dict[str, bool] = {}
    found: defaultdict[str, list[PartMeasures]] = defaultdict(list)
    for row in connection.execute(_STATES):
        quarantined[row.name] = row.status_code == StatusCode.QUARANTINE
        if row.part not in row.enabled.split():
            continue
        place = row.organization_id, PartName(row.part)
        parity = read_parity(*(getattr(row, column.name) for column in FOUND))
        is_scheduled = row.schedule_state == ScheduleState.ACTIVE
        found[row.name].append(
            PartMeasures(
                part=PartName(row.part),
                lag=now - (row.last_successful_at or row.registered_at) if is_scheduled else None,
                escrows=put_aside.get(place, 0),
                held_deletions=held_back.get(place, 0),
                drift=None if parity is None else parity.drift,
            )
        )
    return [OrganizationMeasures(name, quarantined[name], found[name]) for name in quarantined]
