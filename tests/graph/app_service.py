"""What the app finds where it runs in Azure: the identity endpoint of App Service, and a Key Vault over TLS.

The identity endpoint speaks App Service's protocol (api-version 2019-08-01). Of its tokens, those for Graph are the
simulated tenant's, and those for a token exchange are signed as Entra signs them.

The vault asks for a token by a challenge, gives secrets with their newest version, and refuses in Key Vault's words. It
does not imitate versions by their ids, deletion and recovery, certificates and keys, throttling, firewalls, and roles
for single secrets. The resource that tokens are asked for is the end of the vault's host, as vault.azure.net is in
Azure; of 127.0.0.1 that end is 0.0.1.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from local.tenant import TenantServer
from tests.graph.tls import Reply, served

IDENTITY_HEADER = "header-of-the-identity-endpoint"
HOME = "99999999-8888-4777-8666-555555555555"
"""The tenant that the app lives in."""


@dataclass
class Identity:
    """The app's user-assigned managed identity and its endpoint.

    Attributes:
        outage: What is answered instead, if anything.
        requests: The resources that tokens were asked for, in order.
        issued: The tokens for other resources than Graph and a token exchange, by resource.
    """

    tenant: TenantServer
    url: str = ""
    client_id: str = "3b5d7f90-1a2c-4e6f-8b9d-0c1e2f3a4b5c"
    principal_id: str = "7a8b9c0d-1e2f-4a3b-8c4d-5e6f7a8b9c0d"
    outage: Reply | None = None
    requests: list[str] = field(default_factory=list[str])
    issued: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def issuer(self) -> str:
        return f"https://login.microsoftonline.com/{HOME}/v2.0"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        query = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        resource = query["resource"]
        self.requests.append(resource)
        if self.outage is not None:
            return self.outage
        if handler.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER or query["api-version"] != "2019-08-01":
            return 401, {"statusCode": 401, "message": "Unauthorized"}, {}
        if query.get("client_id") != self.client_id:
            return 400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found."}, {}
        expires_on = int(time.time()) + 24 * 3600
        token = self._token(resource, expires_on)
        answer = {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
        return 200, answer | {"client_id": self.client_id}, {}

    def _token(self, resource: str, expires_on: int) -> str:
        if resource.startswith("api://AzureADTokenExchange"):
            claims = {"iss": self.issuer, "sub": self.principal_id, "aud": resource, "exp": expires_on, "tid": HOME}
            return jwt.encode(claims, _signing_key(), algorithm="RS256", headers={"kid": "entra"})
        if "graph" in resource:
            return self.tenant.access_token()
        return self.issued.setdefault(resource, secrets.token_urlsafe())


@dataclass
class Vault:
    """A Key Vault that lets the identity read its secrets.

    Attributes:
        values: The newest version of each secret.
        disabled: Secrets that are not enabled.
        may_read: Whether the identity has the role.
        resource: What the challenge says tokens are to be asked for; empty for the vault's own.
        outage: What is answered to authorized requests instead, if anything.
        reads: The secrets whose value was given, in order.
    """

    identity: Identity
    url: str = ""
    values: dict[str, str] = field(default_factory=dict[str, str])
    disabled: set[str] = field(default_factory=set[str])
    may_read: bool = True
    resource: str = ""
    outage: Reply | None = None
    reads: list[str] = field(default_factory=list[str])

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        own = "https://" + urlsplit(self.url).netloc.partition(".")[2]
        token = self.identity.issued.get(own)
        if token is None or handler.headers.get("Authorization") != f"Bearer {token}":
            authority = f"https://login.microsoftonline.com/{HOME}"
            challenge = f'Bearer authorization="{authority}", resource="{self.resource or own}"'
            return 401, _error("Unauthorized"), {"WWW-Authenticate": challenge}
        if self.outage is not None:
            return self.outage
        address = urlsplit(handler.path)
        if "api-version" not in parse_qs(address.query):
            return 400, _error("BadParameter"), {}
        if not self.may_read:
            return 403, _error("Forbidden", "ForbiddenByRbac"), {}
        root, name, version = (address.path + "/").removeprefix("/").split("/")[:3]
        if root != "secrets" or version or name not in self.values:
            return 404, _error("SecretNotFound"), {}
        if name in self.disabled:
            return 403, _error("Forbidden", "SecretDisabled"), {}
        self.reads.append(name)
        return 200, {"value": self.values[name], "id": f"{self.url}/secrets/{name}/1", "attributes": {}}, {}


@contextmanager
def running_identity(tenant: TenantServer) -> Iterator[Identity]:
    identity = Identity(tenant)
    with served(identity.answer, tls=False) as url:
        identity.url = f"{url}/msi/token"
        yield identity


@contextmanager
def running_vault(identity: Identity) -> Iterator[Vault]:
    vault = Vault(identity)
    with served(vault.answer) as vault.url:
        yield vault


@cache
def _signing_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public_key() -> rsa.RSAPublicKey:
    """The key with which the token exchange's tokens are checked."""
    return _signing_key().public_key()


def _error(code: str, inner: str | None = None) -> dict[str, object]:
    error: dict[str, object] = {"code": code, "message": f"Refused to the caller oid={HOME}."}
    return {"error": error | ({"innererror": {"code": inner}} if inner else {})}
