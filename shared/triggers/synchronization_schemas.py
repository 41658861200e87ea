"""HTTP triggers: a job's schema, the templates and the secrets, as Microsoft Graph serves them."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.api.messages import ODATA_JSON, json_answer, read_body
from shared.api.odata import Entry, expands_schema, page_of_list, query_options, select
from shared.api.operations import DONE, NUMBER, Answer, Body, Form, Operation
from shared.api.routing import route
from shared.cache import selections
from shared.models.errors import BadRequest, NotFound
from shared.models.job_settings import JobSettings
from shared.models.jobs import TEMPLATE_ID
from shared.models.parts import CATALOGUE
from shared.services import services
from shared.triggers.messages import CONNECTION, SLICES, Messages, send
from shared.triggers.paths import JOB, SYNCHRONIZATION, context, find_organization, find_organizations
from shared.triggers.rooms import api, sync

if TYPE_CHECKING:
    from shared.models.schema import SynchronizationTemplate

blueprint = func.Blueprint()

_UPDATE = Body(lambda: api().SchemaUpdate)
_SECRETS = Body(lambda: api().SecretsUpdate)
_LIST_OPTIONS = ("select", "filter", "top", "skip", "count", "expand")
_ENTITY_OPTIONS = ("select", "expand")
_SCHEMA_OPTIONS = ("select",)
_TEMPLATE_ANSWER = Answer(
    model=lambda: api().SynchronizationTemplate, annotated=True, expands=lambda: api().SynchronizationSchema
)
_READ = Operation([Answer(model=lambda: api().SynchronizationSchema, annotated=True)], options=_SCHEMA_OPTIONS)
_CHANGE = Operation([DONE], body=_UPDATE, options=())

_TEMPLATES = f"{SYNCHRONIZATION}/templates"
_TEMPLATE = f"{_TEMPLATES}/{{templateId}}"


@blueprint.function_name("get_synchronization_schema")
@route(blueprint, f"{JOB}/schema", "GET", _READ)
def get_synchronization_schema(req: func.HttpRequest) -> func.HttpResponse:
    """What the job synchronizes."""
    options = query_options(req, _SCHEMA_OPTIONS)
    with services().database.read() as connection:
        organization = find_organization(req, connection)
        parts = selections.read(connection, organization.key)
    job_id = organization.entity.job_id or ""
    schema = api().synchronization_schema(job_id, parts, organization.entity.parts)
    document = {"@odata.context": context(req, f"jobs('{job_id}')/schema/$entity"), **schema.wire()}
    return json_answer(select(document, options), content_type=ODATA_JSON)


@blueprint.function_name("replace_synchronization_schema")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, f"{JOB}/schema", "PUT", _CHANGE)
def replace_synchronization_schema(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Changes what the job synchronizes; what is left out is dropped, and a change begins a new initial cycle."""
    return _change_schema(req, messages)


@blueprint.function_name("patch_synchronization_schema")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, f"{JOB}/schema", "PATCH", _CHANGE)
def patch_synchronization_schema(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """As PUT, for clients that send PATCH, but that a schema without rules changes nothing."""
    return _change_schema(req, messages)


@blueprint.function_name("list_synchronization_templates")
@route(blueprint, _TEMPLATES, "GET", Operation([replace(_TEMPLATE_ANSWER, form=Form.LIST)], options=_LIST_OPTIONS))
def list_synchronization_templates(req: func.HttpRequest) -> func.HttpResponse:
    """The one template."""
    options = query_options(req, _LIST_OPTIONS)
    with_schema = expands_schema(options)
    template = _template(req)
    document = page_of_list(
        req,
        context(req, "templates"),
        [Entry(template.id, None, template)],
        lambda listed: _entity(listed, with_schema=with_schema),
        options,
    )
    return json_answer(document, content_type=ODATA_JSON)


@blueprint.function_name("count_synchronization_templates")
@route(blueprint, f"{_TEMPLATES}/$count", "GET", Operation([NUMBER], options=()))
def count_synchronization_templates(req: func.HttpRequest) -> func.HttpResponse:
    """How many templates there are, as plain digits."""
    query_options(req, ())
    _template(req)
    return func.HttpResponse("1", mimetype="text/plain")


@blueprint.function_name("get_synchronization_template")
@route(blueprint, _TEMPLATE, "GET", Operation([_TEMPLATE_ANSWER], options=_ENTITY_OPTIONS))
def get_synchronization_template(req: func.HttpRequest) -> func.HttpResponse:
    """The template, with its schema where that is asked for."""
    options = query_options(req, _ENTITY_OPTIONS)
    entity = _entity(_named_template(req), with_schema=expands_schema(options))
    document = {"@odata.context": context(req, "templates/$entity"), **entity}
    return json_answer(select(document, options), content_type=ODATA_JSON)


@blueprint.function_name("get_template_schema")
@route(blueprint, f"{_TEMPLATE}/schema", "GET", _READ)
def get_template_schema(req: func.HttpRequest) -> func.HttpResponse:
    """What a new job synchronizes."""
    options = query_options(req, _SCHEMA_OPTIONS)
    schema = _entity(_named_template(req), with_schema=True)["schema"]
    document = {"@odata.context": context(req, f"templates('{TEMPLATE_ID}')/schema/$entity"), **schema}
    return json_answer(select(document, options), content_type=ODATA_JSON)


@blueprint.function_name("replace_synchronization_secrets")
@route(blueprint, f"{SYNCHRONIZATION}/secrets", "PUT", Operation([DONE], body=_SECRETS, options=()))
def replace_synchronization_secrets(req: func.HttpRequest) -> func.HttpResponse:
    """Takes the secrets that mean something here; none can be read back (docs/decisions/0008-no-secrets-kept.md)."""
    app = services()
    query_options(req, ())
    with app.database.read() as connection:
        found = find_organizations(req, connection)
    settings = api().read_secrets(read_body(req, _SECRETS, app.settings.request_body_bytes))
    if settings != JobSettings():
        for organization in found:
            sync().change_settings(app, organization.key, settings)
    return func.HttpResponse(status_code=204)


def _change_schema(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    app = services()
    query_options(req, ())
    with app.database.read() as connection:
        organization = find_organization(req, connection)
        parts = selections.read(connection, organization.key)
    schema = read_body(req, _UPDATE, app.settings.request_body_bytes)
    selection = api().read_selection(schema, parts, organization.entity.parts)
    if selection is not None:
        send(messages, sync().change_selection(app, organization.key, selection))
    elif req.method == "PUT":
        raise BadRequest("synchronizationRules: a schema that replaces another needs its rule.")
    return func.HttpResponse(status_code=204)


def _template(req: func.HttpRequest) -> SynchronizationTemplate:
    with services().database.read() as connection:
        return api().synchronization_template(find_organizations(req, connection)[0].entity.application.client_id)


def _named_template(req: func.HttpRequest) -> SynchronizationTemplate:
    template = _template(req)
    if req.route_params["templateId"].lower() != TEMPLATE_ID.lower():
        raise NotFound("There is no synchronization template with this id.")
    return template


def _entity(template: SynchronizationTemplate, *, with_schema: bool) -> dict[str, Any]:
    entity = template.wire()
    if with_schema:
        entity["schema"] = api().synchronization_schema(TEMPLATE_ID, CATALOGUE, tuple(CATALOGUE)).wire()
    return entity
