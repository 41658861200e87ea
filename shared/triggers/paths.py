"""What the paths of Graph's synchronization API name: the owner's organizations, one job, and the entity's context."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import azure.functions as func
from sqlalchemy import Connection

from shared.api.callers import current_scope
from shared.api.routing import closed_segment
from shared.cache import organizations
from shared.cache.synchronization_record import find_record_of_job
from shared.models.errors import NotFound
from shared.models.jobs import SynchronizationRecord
from shared.models.organizations import Organization
from shared.services import services

SYNCHRONIZATION = "{version}/{owner}/{id}/synchronization"
JOBS = f"{SYNCHRONIZATION}/jobs"
JOB = f"{JOBS}/{{jobId}}"

_LISTED_BY = {
    "applications": organizations.list_by_application,
    "servicePrincipals": organizations.list_by_service_principal,
}


def find_organizations(req: func.HttpRequest, connection: Connection) -> Sequence[Organization]:
    """The organizations that were registered with the application or service principal that the path names.

    Raises:
        NotFound: There is none, or the path is none of ours.
    """
    closed_segment(req, "version")
    found = _LISTED_BY[closed_segment(req, "owner")](connection, req.route_params["id"], current_scope())
    if not found:
        raise NotFound("No organization is registered with this application.")
    return found


def find_organization(req: func.HttpRequest, connection: Connection) -> Organization:
    """The organization whose job the path names.

    Raises:
        NotFound: There is none.
    """
    closed_segment(req, "version")
    return _of_owner(req, organizations.find_by_job(connection, req.route_params["jobId"], current_scope()))


def find_record(req: func.HttpRequest) -> SynchronizationRecord:
    """The record of the organization whose job the path names.

    Raises:
        NotFound: There is none.
    """
    closed_segment(req, "version")
    record = find_record_of_job(services().database, req.route_params["jobId"], current_scope(), services().now())
    _of_owner(req, record.organization)
    return record


def read_organization(req: func.HttpRequest) -> Organization:
    """As ``find_organization``, in a transaction of its own."""
    with services().database.read() as connection:
        return find_organization(req, connection)


def service_url(req: func.HttpRequest) -> str:
    """Where the request reached this service."""
    asked = urlsplit(req.url)
    return f"{asked.scheme}://{asked.netloc}"


def context(req: func.HttpRequest, rest: str) -> str:
    """The ``@odata.context`` of what the path names; ``rest`` comes behind ``…/synchronization/``."""
    version, owner = closed_segment(req, "version"), closed_segment(req, "owner")
    return f"{service_url(req)}/{version}/$metadata#{owner}('{req.route_params['id']}')/synchronization/{rest}"


def _of_owner(req: func.HttpRequest, organization: Organization) -> Organization:
    application = organization.entity.application
    applications = closed_segment(req, "owner") == "applications"
    owner = application.object_id if applications else application.service_principal_id
    if str(owner) != req.route_params["id"].lower():
        raise organizations.not_found("job")
    return organization
