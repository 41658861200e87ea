"""HTTP triggers: the synchronizationJobs of an application or service principal, as Microsoft Graph serves them."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import replace
from typing import Any

import azure.functions as func

from shared.api.messages import ODATA_JSON, json_answer, read_body
from shared.api.odata import Entry, expands_schema, page_of_list, query_options, select
from shared.api.operations import DONE, NUMBER, Answer, Body, Form, Operation
from shared.api.routing import route
from shared.api.views.job import synchronization_job
from shared.cache import jobs, selections
from shared.cache.synchronization_record import read_record
from shared.models.errors import Conflict
from shared.models.jobs import TEMPLATE_ID, SynchronizationRecord
from shared.models.parts import CATALOGUE
from shared.models.synchronization import SynchronizationJob
from shared.services import services
from shared.triggers.messages import CONNECTION, SLICES, Messages, send
from shared.triggers.paths import (
    JOB,
    JOBS,
    context,
    find_organization,
    find_organizations,
    find_record,
    read_organization,
    service_url,
)
from shared.triggers.rooms import api, sync

blueprint = func.Blueprint()

_CREATION = Body(lambda: api().JobCreation)
_UPDATE = Body(lambda: api().JobUpdate)
_LIST_OPTIONS = ("select", "filter", "top", "skip", "count", "expand")
_ENTITY_OPTIONS = ("select", "expand")
_JOB = Answer(model=lambda: SynchronizationJob, annotated=True, expands=lambda: api().SynchronizationSchema)


@blueprint.function_name("list_synchronization_jobs")
@route(blueprint, JOBS, "GET", Operation([replace(_JOB, form=Form.LIST)], options=_LIST_OPTIONS))
def list_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """The jobs of all organizations that were registered with the application."""
    options = query_options(req, _LIST_OPTIONS)
    with_schema = expands_schema(options)
    with services().database.read() as connection:
        listed = [
            Entry(found.entity.job_id, TEMPLATE_ID, found)
            for found in find_organizations(req, connection)
            if found.entity.job_id is not None
        ]
        document = page_of_list(
            req,
            context(req, "jobs"),
            listed,
            lambda found: _entity(req, read_record(connection, found, services().now()), with_schema=with_schema),
            options,
        )
    return json_answer(document, content_type=ODATA_JSON)


@blueprint.function_name("count_synchronization_jobs")
@route(blueprint, f"{JOBS}/$count", "GET", Operation([NUMBER], options=()))
def count_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """How many jobs there are, as plain digits."""
    query_options(req, ())
    with services().database.read() as connection:
        number = sum(found.entity.job_id is not None for found in find_organizations(req, connection))
    return func.HttpResponse(str(number), mimetype="text/plain")


@blueprint.function_name("create_synchronization_job")
@route(
    blueprint,
    JOBS,
    "POST",
    Operation([replace(_JOB, status=201, headers=("Location",))], body=_CREATION, options=(), errors=(Conflict,)),
)
def create_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """Gives an organization whose job was deleted a new one, born disabled."""
    app = services()
    query_options(req, ())
    with app.database.read() as connection:
        registered = find_organizations(req, connection)
    asked = read_body(req, _CREATION, app.settings.request_body_bytes)
    api().refuse_other_template(asked.template_id)
    without_job = [found for found in registered if found.entity.job_id is None]
    if not without_job:
        raise Conflict("Every organization that is registered with this application has its synchronization job.")
    # Where several have none, the one that was registered first gets its own first.
    created = sync().create_job(app, without_job[0].key, asked.settings)
    with app.database.read() as connection:
        document = _document(req, read_record(connection, created, app.now()))
    location = f"{req.url.partition('?')[0].rstrip('/')}/{created.entity.job_id}"
    return json_answer(document, 201, headers={"Location": location}, content_type=ODATA_JSON)


@blueprint.function_name("get_synchronization_job")
@route(blueprint, JOB, "GET", Operation([_JOB], options=_ENTITY_OPTIONS))
def get_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """One job, with its schema where that is asked for."""
    options = query_options(req, _ENTITY_OPTIONS)
    with_schema = expands_schema(options)
    document = _document(req, find_record(req), with_schema=with_schema)
    return json_answer(select(document, options), content_type=ODATA_JSON)


@blueprint.function_name("patch_synchronization_job")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, JOB, "PATCH", Operation([_JOB], body=_UPDATE, options=(), errors=(Conflict,)))
def patch_synchronization_job(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Changes the job's settings or schema, or puts it in quarantine on demand; answers with the job as it then is."""
    app = services()
    query_options(req, ())
    with app.database.read() as connection:
        organization = find_organization(req, connection)
        job = jobs.read(connection, organization.key)
        parts = selections.read(connection, organization.key)
    update = read_body(req, _UPDATE, app.settings.request_body_bytes)
    change = api().read_change(update, job)
    selection = update.schema_ and api().read_selection(update.schema_, parts, organization.entity.parts)
    if change.quarantine is not None:
        sync().quarantine_on_demand(app, organization.key, change.quarantine)
    sent = sync().change_settings(app, organization.key, change.settings)
    # A schema that is sent back as it was read must not undo a change of the setting Parts beside it.
    if selection is not None and selection != {name: parts[name].select for name in organization.entity.parts}:
        sent += sync().change_selection(app, organization.key, selection)
    send(messages, sent)
    return json_answer(_document(req, find_record(req)), content_type=ODATA_JSON)


@blueprint.function_name("delete_synchronization_job")
@route(blueprint, JOB, "DELETE", Operation([DONE], options=()))
def delete_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """Stops the job and erases its state; what has been synchronized stays."""
    query_options(req, ())
    sync().delete_job(services(), read_organization(req).key)
    return func.HttpResponse(status_code=204)


def _document(req: func.HttpRequest, record: SynchronizationRecord, *, with_schema: bool = False) -> dict[str, Any]:
    return {"@odata.context": context(req, "jobs/$entity"), **_entity(req, record, with_schema=with_schema)}


def _entity(req: func.HttpRequest, record: SynchronizationRecord, *, with_schema: bool) -> dict[str, Any]:
    entity = synchronization_job(record, service_url(req)).wire()
    if with_schema:
        parts = {**CATALOGUE, **{name: state.part for name, state in record.parts.items()}}
        entity["schema"] = api().synchronization_schema(entity["id"], parts, record.organization.entity.parts).wire()
    return entity
