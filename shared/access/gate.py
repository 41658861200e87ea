"""Lets callers in, or says what they lack: the one check that every protected function of the API passes."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

import orjson
from pydantic import ValidationError

from shared.access.issuers import ISSUERS
from shared.access.keys import IssuerKeys, KeysUnavailable
from shared.access.tokens import KeyWithdrawn, TokenRefused, TokenVerifier
from shared.models.callers import EVERY_ORGANIZATION, Caller, Permission
from shared.models.errors import Forbidden, ServiceUnavailable, Unauthorized
from shared.settings import Settings, settings

_IN_AZURE = (
    "WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "WEBSITE_SKU", "WEBSITE_POD_NAME", "LEGION_SERVICE_HOST",
    "CONTAINER_APP_NAME", "MANAGED_ENVIRONMENT",
)  # fmt: skip
"""What the plans of Azure Functions set, and Core Tools on a developer's machine does not."""

_EVERYBODY = Caller("everybody", frozenset(Permission), EVERY_ORGANIZATION)


class Unprotected(Exception):
    """The settings do not say who may call, or let everybody in where nobody can want that; the message names them."""


class Gate:
    """Who may call, as the settings say."""

    def __init__(self, given: Settings, now: Callable[[], datetime], environment: Mapping[str, str]) -> None:
        """Nothing is fetched before it is needed.

        Args:
            given: The settings.
            now: The clock.
            environment: The process's environment, which tells whether this is Azure.

        Raises:
            Unprotected: The settings do not say who may call, or say everybody in Azure.
        """
        check_protection(given, environment)
        self._issuer = ISSUERS[given.auth_region]
        self._now = now
        self._verifier: TokenVerifier | None = None
        if given.auth_mode == "entra":
            keys = IssuerKeys(str(given.auth_jwks_url or self._issuer.keys_url), now)
            operator = str(given.auth_tenant_id)
            self._verifier = TokenVerifier(self._issuer, keys, _audiences(given.auth_audience), operator, now)

    def admit(self, authorization: str, method: str) -> Caller:
        """Who calls with this Authorization header, if the method is permitted.

        Raises:
            Unauthorized: There is no token, or none that can be trusted.
            Forbidden: The token does not permit the method.
            ServiceUnavailable: Nobody can tell at the moment.
        """
        if self._verifier is None:
            return _EVERYBODY
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise self._unauthorized("Access token is empty.")
        try:
            caller = self._verifier.verify(token.strip())
        except KeysUnavailable:
            raise ServiceUnavailable(
                "The token cannot be checked, its issuer does not answer; ask again later.",
                headers={"Retry-After": "10"},
            ) from None
        except KeyWithdrawn as refused:
            # Clients keep their tokens; this makes them ask for another one, which has a key that is there.
            raise self._unauthorized(str(refused), refused=True, asking_for_new=True) from None
        except TokenRefused as refused:
            raise self._unauthorized(str(refused), refused=True) from None
        needed = Permission.READ if method == "GET" else Permission.READ_WRITE
        if not caller.may(needed):
            challenge = self._challenge(error="insufficient_scope", scope=needed.value)
            raise Forbidden(f"Insufficient privileges: the token needs {needed.value}.", headers=challenge)
        return caller

    def _unauthorized(self, message: str, *, refused: bool = False, asking_for_new: bool = False) -> Unauthorized:
        told = {"error": "invalid_token", "error_description": message} if refused else {}
        if asking_for_new:
            since = str(int(self._now().timestamp()))
            claims = {"access_token": {"nbf": {"essential": True, "value": since}}}
            told["claims"] = b64encode(orjson.dumps(claims)).decode()
        return Unauthorized(message, headers=self._challenge(**told))

    def _challenge(self, **told: str) -> dict[str, str]:
        parameters = {"realm": "", "authorization_uri": self._issuer.authorization_url, **told}
        return {"WWW-Authenticate": "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())}


def check_protection(given: Settings, environment: Mapping[str, str]) -> None:
    """Refuses settings that leave open who may call.

    Raises:
        Unprotected: They do.
    """
    if given.auth_mode == "none":
        if found := [name for name in _IN_AZURE if environment.get(name)]:
            raise Unprotected(
                f"AUTH_MODE=none lets everybody do everything and is for local work alone; this is Azure "
                f"({found[0]} is set). Remove AUTH_MODE, and set AUTH_TENANT_ID and AUTH_AUDIENCE."
            )
    elif given.auth_tenant_id is None or not given.auth_audience:
        raise Unprotected(
            "AUTH_TENANT_ID and AUTH_AUDIENCE must be set: the operator's tenant, and the client id of the API's "
            "app registration. For local work without tokens, set AUTH_MODE=none."
        )


def refuse_unprotected_start() -> None:
    """Refuses to start where it is open who may call. Settings that cannot be read at all are left to ``/health``,
    which tells of them while nothing else answers.

    Raises:
        Unprotected: It is open.
    """
    try:
        given = settings()
    except ValidationError:
        return
    check_protection(given, os.environ)


def _audiences(given: tuple[str, ...]) -> frozenset[str]:
    """What ``aud`` may say: an app registration's client id stands in tokens by itself, or as its default URI."""
    found = set(given)
    for audience in given:
        try:
            client_id = str(UUID(audience.removeprefix("api://")))
        except ValueError:
            continue
        found |= {client_id, f"api://{client_id}"}
    return frozenset(found)
