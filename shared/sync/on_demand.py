"""Reads one object fresh from Graph and writes it to the cache at once, outside of any run."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.cache import escrows, objects, organizations, pages, selections, slices
from shared.graph.failures import in_time
from shared.models.errors import SynchronizationFailure
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.models.provisioning import Action, PartProvisioned, Provisioned, Step
from shared.models.records import ObjectRecord, Page
from shared.models.synchronization import SynchronizationError
from shared.services import Services

_READINGS = 3


async def provision(
    services: Services, organization: Organization, names: tuple[PartName, ...], object_id: str
) -> Provisioned:
    """Reads the object for these parts, one after the other, and writes it; a part that is switched off is left out."""
    started = services.now()
    done = [await _provision_part(services, organization, name, object_id) for name in names]
    return Provisioned(tuple(done), started, services.now())


async def _provision_part(
    services: Services, organization: Organization, name: PartName, object_id: str
) -> PartProvisioned:
    if name not in organization.entity.parts:
        return PartProvisioned(name, object_id, failed_at=Step.IMPORT)
    for _ in range(_READINGS):
        moment, part, graph_id = await asyncio.to_thread(_moment, services, organization, name, object_id)
        try:
            reading = services.graph.get(organization).read_object(part, graph_id)
            record = await in_time(reading, services.settings.graph_answer_seconds)
        except SynchronizationFailure as failure:
            return PartProvisioned(name, object_id, failed_at=Step.IMPORT, error=failure.told())
        if record is None:
            gone = SynchronizationError(code="EntryNotFound", message="Graph knows no such live object.")
            return PartProvisioned(name, object_id, failed_at=Step.IMPORT, error=gone)
        done = await asyncio.to_thread(_write, services, organization, part, record, moment)
        if done is not None:
            return done
    outdated = SynchronizationError(code="EntryChanged", message="A run wrote the object while it was being read.")
    return PartProvisioned(name, object_id, failed_at=Step.EXPORT, error=outdated)


def _moment(services: Services, organization: Organization, name: PartName, object_id: str) -> tuple[int, Part, str]:
    """The number of the organization's last change, the part as it is selected, and the id to ask Graph by."""
    with services.database.read() as connection:
        part = selections.read(connection, organization.key)[name]
        return (
            organizations.last_change_number(connection, organization.key),
            part,
            objects.graph_id(connection, organization.key, part, object_id),
        )


def _write(
    services: Services, organization: Organization, part: Part, record: ObjectRecord, moment: int
) -> PartProvisioned | None:
    """Writes what was read; None when the object was written since, so that the reading may be the older one."""
    now, key, name, object_id = services.now(), organization.key, part.name, record.object_id
    with services.database.write() as connection:
        organizations.lock(connection, key)
        if objects.is_written_after(connection, key, part, object_id, moment):
            return None
        work = slices.outside_of_runs(connection, organization, part, now)
        before = objects.find_live(connection, key, name, object_id)
        page = Page(records=[record], next_link=None, delta_link=None)
        retry = services.settings.escrow_retry
        counts = pages.apply_page(connection, work, page, now, retry, holds_deletions=False)
        after = objects.find_live(connection, key, name, object_id)
        error = escrows.find_error(connection, work, object_id)
    if error is not None:
        return PartProvisioned(name, object_id, before=before, after=after, failed_at=Step.EXPORT, error=error)
    if part.keeps_objects and not counts.entitled and before is None and after is None:
        return PartProvisioned(name, object_id, failed_at=Step.SCOPING)
    action = _action(before, after) if part.keeps_objects else (Action.UPDATE if counts.exported else Action.NONE)
    links_written = counts.exported - (part.keeps_objects and action is not Action.NONE)
    return PartProvisioned(name, object_id, action, before, after, links_written)


def _action(before: Any, after: Any) -> Action:
    if before is None:
        return Action.NONE if after is None else Action.CREATE
    if after is None:
        return Action.DELETE
    return Action.NONE if before == after else Action.UPDATE
