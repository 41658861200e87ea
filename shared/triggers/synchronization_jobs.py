"""HTTP triggers: the synchronizationJobs of an application or service principal, as Microsoft Graph serves them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import azure.functions as func
from sqlalchemy import Connection

from shared.api.messages import ODATA_JSON, json_answer
from shared.api.routing import closed_segment, route
from shared.api.views.job import synchronization_job
from shared.cache import jobs, organizations
from shared.models.errors import NotFound
from shared.models.organizations import Organization
from shared.services import services

blueprint = func.Blueprint()

_LISTED_BY = {
    "applications": organizations.list_by_application,
    "servicePrincipals": organizations.list_by_service_principal,
}


@blueprint.function_name("list_synchronization_jobs")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs", "GET")
def list_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """The jobs of all organizations that were registered with the application."""
    app = services()
    context = _context(req)
    with app.database.read() as connection:
        found = _organizations(req, connection)
        records = [jobs.read_record(connection, organization, app.now()) for organization in found]
    document = {"@odata.context": context, "value": [synchronization_job(record).wire() for record in records]}
    return json_answer(document, content_type=ODATA_JSON)


@blueprint.function_name("get_synchronization_job")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}", "GET")
def get_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """One job."""
    app, context, job_id = services(), _context(req), req.route_params["jobId"]
    with app.database.read() as connection:
        for organization in _organizations(req, connection):
            if organization.entity.job_id.lower() == job_id.lower():
                record = jobs.read_record(connection, organization, app.now())
                document = {"@odata.context": f"{context}/$entity", **synchronization_job(record).wire()}
                return json_answer(document, content_type=ODATA_JSON)
    raise NotFound("The application has no synchronization job with this id.")


def _organizations(req: func.HttpRequest, connection: Connection) -> Sequence[Organization]:
    found = _LISTED_BY[closed_segment(req, "owner")](connection, req.route_params["id"])
    if not found:
        raise NotFound("No organization is registered with this application.")
    return found


def _context(req: func.HttpRequest) -> str:
    host, version, owner = urlsplit(req.url), closed_segment(req, "version"), closed_segment(req, "owner")
    return f"{host.scheme}://{host.netloc}/{version}/$metadata#{owner}('{req.route_params['id']}')/synchronization/jobs"
