"""Who calls the function at work: asked once before it, and known to whatever it looks up.

See docs/decisions/0013-tokens-and-scopes.md.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import azure.functions as func

from shared.api.messages import RequestIds, header
from shared.models.callers import Caller, Scope
from shared.models.errors import ApiError, Forbidden, NotFound
from shared.models.organizations import CredentialKind, OrganizationRegistration
from shared.services import services

logger = logging.getLogger(__name__)

_REFUSED = 400
"""From this status on."""

_caller: ContextVar[Caller] = ContextVar("caller")


def admit(req: func.HttpRequest, ids: RequestIds, function: str) -> Caller:
    """Lets a request in; who is refused is logged with what was asked for.

    Raises:
        ApiError: As ``Gate.admit``.
    """
    try:
        caller = services().gate.admit(header(req, "authorization"), req.method)
    except ApiError as error:
        logger.warning("request %s: %s refused (%d): %s", ids.request_id, function, error.status, error.message)
        raise
    return caller


def log_change(req: func.HttpRequest, ids: RequestIds, function: str, caller: Caller | None, status: int) -> None:
    """Logs who had something changed, of which organization, and what came of it."""
    if caller is None or req.method == "GET":
        return
    # What a refused request names need not exist, and may then be anything.
    subject = " ".join(cast(Mapping[str, str], req.route_params).values()) if status < _REFUSED else ""
    logger.info("request %s: %s(%s) by %s: %d", ids.request_id, function, subject, caller.name, status)


@contextmanager
def calling(caller: Caller | None) -> Generator[None]:
    """Makes it known who calls, until the end of the ``with`` block."""
    if caller is None:
        yield
        return
    token = _caller.set(caller)
    try:
        yield
    finally:
        # The worker's threads go on to other requests.
        _caller.reset(token)


def current_scope() -> Scope:
    """Which organizations there are for the caller of the function at work.

    Raises:
        LookupError: The function is open to everybody, so nobody is known to call.
    """
    return _caller.get().scope


def refuse_to_register(registration: OrganizationRegistration, scope: Scope) -> None:
    """Refuses what is not the caller's to register.

    Raises:
        NotFound: The tenant is not in the caller's scope.
        Forbidden: Nobody but the operator registers organizations, unless AUTH_REGISTRATION says so: every tenant can
            get a token for an application of many tenants, and names are not proven. Or the credential is the
            operator's: the managed identity reads the operator's own tenant, and stored certificates and secrets were
            given to the operator.
    """
    if not scope.holds(str(registration.tenant_id)):
        raise NotFound("tenantId: there is no such tenant for this caller.")
    if scope.tenant_id is not None and services().settings.auth_registration == "operator":
        raise Forbidden("Organizations are registered by the operator of this service.")
    kind = registration.credential.kind
    if scope.tenant_id is not None and kind is not CredentialKind.FEDERATED:
        raise Forbidden(f"credential.kind: {kind} is the operator's to register; register with federated.")
