"""Reads one object fresh from Graph and writes it to the cache at once, outside of any run."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.cache import objects, organizations, pages, selections, slices
from shared.graph.failures import in_time
from shared.models.errors import SynchronizationFailure
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.models.provisioning import Action, PartProvisioned, Provisioned, Step
from shared.models.records import ObjectRecord, Page
from shared.models.synchronization import SynchronizationError
from shared.services import Services


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
        return PartProvisioned(name, object_id, failed_at=Step.SCOPING)

    def selected() -> Part:
        with services.database.read() as connection:
            return selections.read(connection, organization.key)[name]

    part = await asyncio.to_thread(selected)
    try:
        reading = services.graph.get(organization).read_object(part, object_id)
        record = await in_time(reading, services.settings.graph_answer_seconds)
    except SynchronizationFailure as failure:
        return PartProvisioned(name, object_id, failed_at=Step.IMPORT, error=failure.told())
    if record is None:
        gone = SynchronizationError(code="EntryNotFound", message="Graph knows no such live object.")
        return PartProvisioned(name, object_id, failed_at=Step.IMPORT, error=gone)
    return await asyncio.to_thread(_write, services, organization, part, record)


def _write(services: Services, organization: Organization, part: Part, record: ObjectRecord) -> PartProvisioned:
    now, key, name, object_id = services.now(), organization.key, part.name, record.object_id
    with services.database.write() as connection:
        organizations.lock(connection, key)
        work = slices.outside_of_runs(connection, organization, part, now)
        before = objects.find_live(connection, key, name, object_id)
        page = Page(records=[record], next_link=None, delta_link=None)
        counts = pages.apply_page(connection, work, page, now, services.settings.escrow_retry)
        after = objects.find_live(connection, key, name, object_id)
    if counts.imported_deltas and not counts.entitled and before is None and after is None and part.keeps_objects:
        return PartProvisioned(name, object_id, failed_at=Step.SCOPING)
    changed_rows = counts.exported
    action = _action(before, after) if part.keeps_objects else (Action.UPDATE if changed_rows else Action.NONE)
    links_written = changed_rows - (1 if part.keeps_objects and action is not Action.NONE else 0)
    return PartProvisioned(name, object_id, action, before, after, links_written)


def _action(before: Any, after: Any) -> Action:
    if before is None:
        return Action.NONE if after is None else Action.CREATE
    if after is None:
        return Action.DELETE
    return Action.NONE if before == after else Action.UPDATE
