"""Registered organizations: add, find, list, remove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from shared.cache import jobs, subscriptions
from shared.cache.selections import add_part
from shared.cache.tables import jobs as jobs_table
from shared.cache.tables import organizations, parts, run_parts, runs
from shared.models.callers import EVERY_ORGANIZATION, Scope
from shared.models.errors import Conflict, NotFound
from shared.models.organizations import (
    ApplicationReference,
    AuthenticationType,
    Credential,
    CredentialKind,
    Organization,
    OrganizationEntity,
    OrganizationRegistration,
    Region,
)
from shared.models.parts import PartName

_WANTED: BindParameter[Any] = bindparam("wanted")
WAYS = {
    "key": organizations.c.organization_id == _WANTED,
    "tenant": organizations.c.tenant_id == _WANTED,
    "name": organizations.c.name == _WANTED,
    "job": jobs_table.c.job_id == _WANTED,
}
"""The ways to find a registered organization, whose row is joined with its job's; the parameter is ``wanted``."""
COLUMNS = [column for column in organizations.c if column.name not in ("removed_at", "change_number")]
"""What ``read_organization`` takes, with the job's ``job_id``."""

JOINED = organizations.join(jobs_table, jobs_table.c.organization_id == organizations.c.organization_id)
IS_REGISTERED = organizations.c.removed_at.is_(None)

_REGISTERED = select(*COLUMNS, jobs_table.c.job_id).select_from(JOINED).where(IS_REGISTERED)
# Made once: to put a statement together takes longer than the database takes to answer it.
_FOUND = {way: _REGISTERED.where(condition) for way, condition in WAYS.items()}
_REMOVED = select(*COLUMNS, null().label("job_id")).where(~IS_REGISTERED, WAYS["key"])


def register(
    connection: Connection,
    registration: OrganizationRegistration,
    interval: timedelta,
    deletion_threshold: int | None,
    now: datetime,
) -> Organization:
    """Adds an organization with its job, which is born disabled (graph.md appendix B.3).

    Args:
        interval: The time between the starts of the job's runs.
        deletion_threshold: How many deletions a part's run carries out unasked; None for any number.

    Raises:
        Conflict: The tenant, or the name, is registered already.
    """
    tenant = registration.tenant_id
    try:
        key = connection.execute(
            insert(organizations)
            .values(
                tenant_id=str(tenant),
                name=registration.name,
                region=registration.region,
                authentication_type=registration.authentication_type,
                client_id=str(registration.application.client_id),
                application_object_id=str(registration.application.object_id),
                service_principal_id=str(registration.application.service_principal_id),
                credential_kind=registration.credential.kind,
                credential_secret=registration.credential.key_vault_secret,
                parts=" ".join(registration.parts),
                registered_at=now,
            )
            .returning(organizations.c.organization_id)
        ).scalar_one()
    except IntegrityError as error:
        raise Conflict(f"An organization with the tenant id {tenant} or this name is registered already.") from error
    jobs.add(connection, key, tenant, interval, deletion_threshold)
    for name in registration.parts:
        add_part(connection, key, name)
    return find_by_key(connection, key)


def find(connection: Connection, identifier: str, scope: Scope) -> Organization:
    """The organization with this tenant id or domain name, in any case.

    Raises:
        NotFound: There is none in the caller's scope.
    """
    return _find(connection, way_of(identifier), identifier.lower(), scope)


def find_by_key(connection: Connection, key: int) -> Organization:
    """The organization that the cache database knows under this number.

    Raises:
        NotFound: There is none, or it was removed.
    """
    return _find(connection, "key", key, EVERY_ORGANIZATION)


def find_removed(connection: Connection, key: int) -> Organization:
    """The organization that was removed, while it has rows or subscriptions left; it has no job any more.

    Raises:
        NotFound: There is none, or it is registered.
    """
    row = connection.execute(_REMOVED, {"wanted": key}).one_or_none()
    if row is None:
        raise not_found("key")
    return read_organization(row)


def find_by_job(connection: Connection, job_id: str, scope: Scope) -> Organization:
    """The organization whose job has this id, in any letter case.

    Raises:
        NotFound: There is none in the caller's scope.
    """
    return _find(connection, "job", jobs.kept_id(job_id), scope)


def way_of(identifier: str) -> str:
    """Which of WAYS finds the organization that a client names.

    Domain names have dots and tenant ids have none. Asked for either, SQLite would look at every organization.
    """
    return "name" if "." in identifier else "tenant"


def not_found(way: str) -> NotFound:
    """The error of an organization that is not there."""
    if way == "job":
        return NotFound("There is no synchronization job with this id.")
    return NotFound("This organization is not registered.")


def list_all(connection: Connection, scope: Scope, skip: int = 0, top: int | None = None) -> Sequence[Organization]:
    """The registered organizations in the caller's scope, in the order of their registration: ``top`` of them, or all,
    behind the first ``skip``."""
    return _listed(connection, scope, skip=skip, top=top)


def list_by_application(connection: Connection, object_id: str, scope: Scope) -> Sequence[Organization]:
    """Those of them that were registered with this app registration, by its object id."""
    return _listed(connection, scope, organizations.c.application_object_id == object_id.lower())


def list_by_service_principal(connection: Connection, object_id: str, scope: Scope) -> Sequence[Organization]:
    """Those of them that were registered with this service principal, by its object id."""
    return _listed(connection, scope, organizations.c.service_principal_id == object_id.lower())


def remove(connection: Connection, organization: Organization, now: datetime) -> None:
    """Takes the organization off the register together with its job and runs; ``purge`` takes its cached rows out, and
    its subscriptions are removed from Graph."""
    connection.execute(
        update(organizations).where(organizations.c.organization_id == organization.key).values(removed_at=now)
    )
    for table in (run_parts, runs, parts, jobs_table):
        connection.execute(delete(table).where(table.c.organization_id == organization.key))
    subscriptions.want(connection, organization.key, (), None, now)


def lock(connection: Connection, key: int) -> Organization:
    """Holds the organization's row until the transaction ends, so that decisions about its runs follow one another.

    Raises:
        NotFound: The organization was removed.
    """
    connection.execute(
        select(organizations.c.organization_id).where(organizations.c.organization_id == key).with_for_update()
    )
    return find_by_key(connection, key)


def last_change_number(connection: Connection, key: int) -> int:
    """The number of the organization's last change."""
    query = select(organizations.c.change_number).where(organizations.c.organization_id == key)
    return connection.execute(query).scalar_one()


def next_change_number(connection: Connection, key: int) -> int:
    """The number of this transaction among the organization's changes.

    Holds the organization's row until the transaction ends: transactions that write an organization's cache follow one
    another, so that numbers become visible in their order and links never miss a deletion made beside them.
    """
    return connection.execute(
        update(organizations)
        .where(organizations.c.organization_id == key)
        .values(change_number=organizations.c.change_number + 1)
        .returning(organizations.c.change_number)
    ).scalar_one()


def _listed(
    connection: Connection, scope: Scope, *conditions: Any, skip: int = 0, top: int | None = None
) -> Sequence[Organization]:
    if scope.tenant_id is not None:
        conditions += (organizations.c.tenant_id == scope.tenant_id,)
    found = _REGISTERED.where(*conditions).order_by(organizations.c.organization_id).offset(skip).limit(top)
    return [read_organization(row) for row in connection.execute(found)]


def _find(connection: Connection, way: str, wanted: str | int, scope: Scope) -> Organization:
    row = connection.execute(_FOUND[way], {"wanted": wanted}).one_or_none()
    if row is None or not scope.holds(row.tenant_id):
        raise not_found(way)
    return read_organization(row)


def read_organization(row: Row[Any]) -> Organization:
    """An organization from its row."""
    tenant_id = UUID(row.tenant_id)
    # The row was validated when it was registered, so that reading state need not pay for it again.
    entity = OrganizationEntity.model_construct(
        id=tenant_id,
        job_id=row.job_id,
        registered_date_time=row.registered_at,
        tenant_id=tenant_id,
        name=row.name,
        region=Region(row.region),
        authentication_type=AuthenticationType(row.authentication_type),
        application=ApplicationReference.model_construct(
            client_id=UUID(row.client_id),
            object_id=UUID(row.application_object_id),
            service_principal_id=UUID(row.service_principal_id),
        ),
        credential=Credential.model_construct(
            kind=CredentialKind(row.credential_kind), key_vault_secret=row.credential_secret
        ),
        parts=[PartName(name) for name in row.parts.split()],
    )
    return Organization(key=row.organization_id, entity=entity)
