"""HTTP triggers: organizations, their synchronizations and their states."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import azure.functions as func
from sqlalchemy import Connection

from shared.api.callers import current_scope, refuse_to_register
from shared.api.messages import entity_answer, json_answer, read_body
from shared.api.odata import next_link, query_options, window
from shared.api.operations import DONE, Answer, Body, Form, Operation
from shared.api.routing import route
from shared.api.views.sync_state import organization_sync_state
from shared.cache import organizations, runs
from shared.cache.synchronization_record import find_record, read_record
from shared.models.base import WireModel
from shared.models.errors import Conflict, NotFound
from shared.models.organizations import OrganizationEntity, OrganizationRegistration
from shared.models.sync_state import OrganizationSyncState
from shared.services import services
from shared.triggers.messages import CONNECTION, PURGES, SLICES, Messages, send, send_keys
from shared.triggers.rooms import api, sync

blueprint = func.Blueprint()

_REGISTRATION = Body(lambda: OrganizationRegistration)
_REQUEST = Body(lambda: api().SynchronizationRequest)
_PAGING = ("top", "skip")


def _list_of(model: Callable[[], type[WireModel]]) -> Operation:
    return Operation([Answer(model=model, form=Form.LIST)], options=_PAGING)


@blueprint.function_name("register_organization")
@route(
    blueprint,
    "organizations",
    "POST",
    Operation(
        [Answer(201, model=lambda: OrganizationEntity, headers=("Location",))],
        body=_REGISTRATION,
        errors=(NotFound, Conflict),
    ),
)
def register_organization(req: func.HttpRequest) -> func.HttpResponse:
    """Registers an organization with its job."""
    app = services()
    registration = read_body(req, _REGISTRATION, app.settings.request_body_bytes)
    refuse_to_register(registration, current_scope())
    with app.database.write() as connection:
        added = organizations.register(
            connection, registration, app.settings.sync_interval, app.settings.deletion_threshold, app.now()
        )
    return entity_answer(added.entity, 201, headers={"Location": f"/organizations/{added.tenant_id}"})


@blueprint.function_name("list_organizations")
@route(blueprint, "organizations", "GET", _list_of(lambda: OrganizationEntity))
def list_organizations(req: func.HttpRequest) -> func.HttpResponse:
    """The organizations that the caller sees, page by page."""
    return _page(
        req,
        lambda connection, skip, top: [
            found.entity for found in organizations.list_all(connection, current_scope(), skip, top)
        ],
    )


@blueprint.function_name("get_organization")
@route(blueprint, "organizations/{id}", "GET", Operation([Answer(model=lambda: OrganizationEntity)]))
def get_organization(req: func.HttpRequest) -> func.HttpResponse:
    """One organization."""
    with services().database.read() as connection:
        return entity_answer(organizations.find(connection, req.route_params["id"], current_scope()).entity)


@blueprint.function_name("remove_organization")
@blueprint.queue_output(arg_name="purges", queue_name=PURGES, connection=CONNECTION)
@route(blueprint, "organizations/{id}", "DELETE", Operation([DONE]))
def remove_organization(req: func.HttpRequest, purges: Messages) -> func.HttpResponse:
    """Takes an organization off the register; its cached rows go in the background."""
    app = services()
    with app.database.write() as connection:
        found = organizations.find(connection, req.route_params["id"], current_scope())
        found = organizations.lock(connection, found.key)
        organizations.remove(connection, found, app.now())
    send_keys(purges, [found.key])
    return func.HttpResponse(status_code=204)


@blueprint.function_name("start_synchronization")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(
    blueprint,
    "organizations/{id}/sync",
    "POST",
    Operation([Answer(202, model=lambda: api().RunEntity, headers=("Location",))], body=_REQUEST, errors=(Conflict,)),
)
def start_synchronization(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Starts a synchronization, or joins the one under way."""
    app = services()
    asked = read_body(req, _REQUEST, app.settings.request_body_bytes)
    with app.database.read() as connection:
        key = organizations.find(connection, req.route_params["id"], current_scope()).key
    run, started = sync().start(app, key, asked.type, asked.chosen_parts)
    send(messages, started)
    location = f"/organizations/{req.route_params['id'].lower()}/syncs/{run.activity_identifier}"
    return entity_answer(api().run_entity(run), 202, headers={"Location": location})


@blueprint.function_name("get_synchronization")
@route(
    blueprint,
    "organizations/{id}/syncs/{activityIdentifier}",
    "GET",
    Operation([Answer(model=lambda: api().RunEntity)]),
)
def get_synchronization(req: func.HttpRequest) -> func.HttpResponse:
    """One run with its progress."""
    with services().database.read() as connection:
        organization = organizations.find(connection, req.route_params["id"], current_scope())
        run = runs.find(connection, organization, req.route_params["activityIdentifier"].lower())
    if run is None:
        raise NotFound(f"{organization.name} has no synchronization with this activityIdentifier.")
    return entity_answer(api().run_entity(run))


@blueprint.function_name("list_escrows")
@route(blueprint, "organizations/{id}/escrows", "GET", _list_of(lambda: api().EscrowEntity))
def list_escrows(req: func.HttpRequest) -> func.HttpResponse:
    """The objects that could not be written, page by page."""
    # What works with objects that wait is loaded only by the functions that do: states need none of it.
    from shared.cache import escrows

    return _page_of_organization(req, escrows.list_all)


@blueprint.function_name("list_held_deletions")
@route(blueprint, "organizations/{id}/heldDeletions", "GET", _list_of(lambda: api().HeldDeletionEntity))
def list_held_deletions(req: func.HttpRequest) -> func.HttpResponse:
    """The deletions that wait for the end of their run, or for approval, page by page."""
    from shared.cache import held_deletions

    return _page_of_organization(req, held_deletions.list_all)


@blueprint.function_name("get_organization_sync_state")
@route(blueprint, "organizations/{id}/syncState", "GET", Operation([Answer(model=lambda: OrganizationSyncState)]))
def get_organization_sync_state(req: func.HttpRequest) -> func.HttpResponse:
    """One organization's synchronization state."""
    app = services()
    record = find_record(app.database, req.route_params["id"], current_scope(), app.now())
    return entity_answer(organization_sync_state(record))


@blueprint.function_name("get_all_sync_states")
@route(blueprint, "organizations/syncState", "GET", _list_of(lambda: OrganizationSyncState))
def get_all_sync_states(req: func.HttpRequest) -> func.HttpResponse:
    """The synchronization states of the organizations that the caller sees, page by page."""
    now = services().now()
    return _page(
        req,
        lambda connection, skip, top: [
            organization_sync_state(read_record(connection, found, now))
            for found in organizations.list_all(connection, current_scope(), skip, top)
        ],
    )


def _page(req: func.HttpRequest, listed: Callable[[Connection, int, int], Sequence[WireModel]]) -> func.HttpResponse:
    """One page of a list, of which ``listed`` gives some behind so many others."""
    options = query_options(req, _PAGING)
    skip, top = window(options)
    with services().database.read() as connection:
        found = listed(connection, skip, top + 1)
    document: dict[str, Any] = {"value": [entity.wire() for entity in found[:top]]}
    if top and len(found) > top:
        document["@odata.nextLink"] = next_link(req, options, skip + top)
    return json_answer(document)


def _page_of_organization(
    req: func.HttpRequest, listed: Callable[[Connection, int, int, int], Sequence[WireModel]]
) -> func.HttpResponse:
    def of_organization(connection: Connection, skip: int, top: int) -> Sequence[WireModel]:
        key = organizations.find(connection, req.route_params["id"], current_scope()).key
        return listed(connection, key, skip, top)

    return _page(req, of_organization)
