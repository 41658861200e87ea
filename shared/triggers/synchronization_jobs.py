"""HTTP triggers: the synchronizationJobs of an application or service principal, as Microsoft Graph serves them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import azure.functions as func
from sqlalchemy import Connection

from shared.api.messages import ODATA_JSON, json_answer
from shared.api.routing import refuse_unknown, route
from shared.api.views.job import synchronization_job
from shared.cache import jobs, organizations
from shared.models.errors import NotFound
from shared.models.organizations import Organization
from shared.services import services

blueprint = func.Blueprint()

_VERSIONS = {"v1.0": "v1.0", "beta": "beta"}
_OWNERS = {
    "applications": ("applications", organizations.list_by_application),
    "serviceprincipals": ("servicePrincipals", organizations.list_by_service_principal),
}


@blueprint.function_name("list_synchronization_jobs")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs", "GET")
def list_synchronization_jobs(req: func.HttpRequest) -> func.HttpResponse:
    """The jobs of all organizations that were registered with the application."""
    app = services()
    with app.database.read() as connection:
        found = _organizations(req, connection)
        records = [jobs.read_record(connection, organization, app.now()) for organization in found]
    document = {"@odata.context": _context(req), "value": [synchronization_job(record).wire() for record in records]}
    return json_answer(document, content_type=ODATA_JSON)


@blueprint.function_name("get_synchronization_job")
@route(blueprint, "{version}/{owner}/{id}/synchronization/jobs/{jobId}", "GET")
def get_synchronization_job(req: func.HttpRequest) -> func.HttpResponse:
    """One job."""
    app, job_id = services(), req.route_params["jobId"]
    with app.database.read() as connection:
        for organization in _organizations(req, connection):
            if organization.entity.job_id.lower() == job_id.lower():
                record = jobs.read_record(connection, organization, app.now())
                document = {"@odata.context": f"{_context(req)}/$entity", **synchronization_job(record).wire()}
                return json_answer(document, content_type=ODATA_JSON)
    raise NotFound("The application has no synchronization job with this id.")


def _organizations(req: func.HttpRequest, connection: Connection) -> Sequence[Organization]:
    version, owner = req.route_params["version"].lower(), req.route_params["owner"].lower()
    if version not in _VERSIONS or owner not in _OWNERS:
        refuse_unknown("")
    found = _OWNERS[owner][1](connection, req.route_params["id"])
    if not found:
        raise NotFound("No organization is registered with this application.")
    return found


def _context(req: func.HttpRequest) -> str:
    host = urlsplit(req.url)
    version, (owner, _) = req.route_params["version"].lower(), _OWNERS[req.route_params["owner"].lower()]
    return f"{host.scheme}://{host.netloc}/{version}/$metadata#{owner}('{req.route_params['id']}')/synchronization/jobs"
