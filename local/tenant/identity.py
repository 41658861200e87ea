"""The identity endpoint: access tokens the way App Service hands them to a managed identity."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import orjson

from local.tenant.state import Tenant
from local.tenant.web import Answer, GraphError, Request, json_answer

_LIFETIME = 24 * 3600


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signature(tenant: Tenant, text: str) -> str:
    # The key is the seed's, so that a client's cached token outlives a restart of the tenant.
    key = f"access token key {tenant.directory.seed}".encode()
    return _encode(hmac.new(key, text.encode(), hashlib.sha256).digest())


def issue(
    tenant: Tenant, resource: str = "https://graph.microsoft.com", client_id: str | None = None
) -> tuple[str, int]:
    """An access token in the form of a JWT, and when it ends."""
    expires_on = int(time.time()) + _LIFETIME
    claims = {
        "aud": resource,
        "iss": f"https://sts.windows.net/{tenant.directory.tenant_id}/",
        "tid": tenant.directory.tenant_id,
        "appid": client_id or "00000000-0000-4000-8000-00000000c11e",
        "exp": expires_on,
        "idtyp": "app",
    }
    head = _encode(orjson.dumps({"typ": "JWT", "alg": "HS256"}))
    text = f"{head}.{_encode(orjson.dumps(claims))}"
    return f"{text}.{_signature(tenant, text)}", expires_on


def answer(tenant: Tenant, request: Request) -> Answer:
    """GET /msi/token, api-version 2019-08-01."""
    if request.method != "GET":
        return json_answer({"statusCode": 405, "message": "Only GET."}, 405)
    if request.headers.get("x-identity-header") != tenant.identity_header:
        return json_answer({"statusCode": 403, "message": "X-IDENTITY-HEADER is missing or wrong."}, 403)
    resource = request.options.get("resource")
    if not resource or request.options.get("api-version") != "2019-08-01":
        return json_answer({"statusCode": 400, "message": "resource and api-version=2019-08-01 are required."}, 400)
    client_id = request.options.get("client_id")
    token, expires_on = issue(tenant, resource, client_id)
    value = {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
    return json_answer(value | ({"client_id": client_id} if client_id else {}))


def require_bearer(tenant: Tenant, request: Request) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    text, _, signature = token.rpartition(".")
    if scheme.lower() != "bearer" or not text:
        raise _unauthorized("Access token is empty.")
    if not hmac.compare_digest(_signature(tenant, text).encode(), signature.encode()):
        raise _unauthorized("Signature verification failed: the token is not of this tenant.")
    claims = text.partition(".")[2]
    if orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"] < time.time():
        raise _unauthorized("Lifetime validation failed, the token is expired.")


def _unauthorized(message: str) -> GraphError:
    return GraphError(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": 'Bearer realm=""'})
