"""HTTP triggers: the synchronizationJobs of an application or service principal, as Microsoft Graph serves them."""
# azure.functions leaves its decorators partly untyped.
# pyright: strict, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import azure.functions as func
from sqlalchemy import Connection

from shared.api.messages import ODATA_JSON, json_answer, read_body
from shared.api.odata import page_of_list, query_options, select
from shared.api.routing import closed_segment, route
from shared.api.views.job import synchronization_job
from shared.cache import jobs, organizations
from shared.models.errors import NotFound
from shared.models.organizations import Organization
from shared.models.restart import RestartRequest
from shared.services import services
from shared.sync.control import pause, restart, start_job
from shared.triggers.messages import CONNECTION, SLICES, Messages, send

blueprint = func.Blueprint()

_LISTED_BY = {
    "applications": organizations.list_by_application,
    "servicePrincipals": organizations.list_by_service_principal,
}


@blueprint.function_name("list_synchronization_jobs")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs", "GET")
def list_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """The jobs of all organizations that were registered with the application."""
    app, context = services(), _context(req)
    options = query_options(req, ("select", "filter", "top", "skip", "count"))
    with app.database.read() as connection:
        found = _organizations(req, connection)
        records = [jobs.read_record(connection, organization, app.now()) for organization in found]
    entities = [synchronization_job(record).wire() for record in records]
    return json_answer(page_of_list(req, context, entities, options), content_type=ODATA_JSON)


@blueprint.function_name("count_synchronization_jobs")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/$count", "GET")
def count_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """How many jobs there are, as plain digits."""
    closed_segment(req, "version")
    query_options(req, ())
    with services().database.read() as connection:
        return func.HttpResponse(str(len(_organizations(req, connection))), mimetype="text/plain")


@blueprint.function_name("get_synchronization_job")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}", "GET")
def get_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """One job."""
    app, context = services(), _context(req)
    options = query_options(req, ("select",))
    with app.database.read() as connection:
        record = jobs.read_record(connection, _organization(req, connection), app.now())
    document = {"@odata.context": f"{context}/$entity", **synchronization_job(record).wire()}
    return json_answer(select(document, options.get("select")), content_type=ODATA_JSON)


@blueprint.function_name("start_synchronization_job")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}/start", "POST")
def start_synchronization_job(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Sets the job going; a paused one goes on, a quarantine is lifted."""
    send(messages, start_job(services(), _key(req)))
    return func.HttpResponse(status_code=204)


@blueprint.function_name("pause_synchronization_job")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}/pause", "POST")
def pause_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """Stops the job for a while."""
    pause(services(), _key(req))
    return func.HttpResponse(status_code=204)


@blueprint.function_name("restart_synchronization_job")
@blueprint.queue_output(arg_name="messages", queue_name=SLICES, connection=CONNECTION)
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}/restart", "POST")
def restart_synchronization_job(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Begins anew, with the parts of the state that the criteria name thrown away."""
    app, key = services(), _key(req)
    asked = read_body(req, RestartRequest, app.settings.request_body_bytes)
    send(messages, restart(app, key, asked.scope))
    return func.HttpResponse(status_code=204)


def _key(req: func.HttpRequest) -> int:
    with services().database.read() as connection:
        return _organization(req, connection).key


def _organization(req: func.HttpRequest, connection: Connection) -> Organization:
    closed_segment(req, "version")
    job_id = req.route_params["jobId"].lower()
    for organization in _organizations(req, connection):
        if organization.entity.job_id.lower() == job_id:
            return organization
    raise NotFound("The application has no synchronization job with this id.")


def _organizations(req: func.HttpRequest, connection: Connection) -> Sequence[Organization]:
    found = _LISTED_BY[closed_segment(req, "owner")](connection, req.route_params["id"])
    if not found:
        raise NotFound("No organization is registered with this application.")
    return found


def _context(req: func.HttpRequest) -> str:
    host, version, owner = urlsplit(req.url), closed_segment(req, "version"), closed_segment(req, "owner")
    return f"{host.scheme}://{host.netloc}/{version}/$metadata#{owner}('{req.route_params['id']}')/synchronization/jobs"
