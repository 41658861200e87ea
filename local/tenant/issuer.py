"""The token service: Microsoft Entra as APIs and their callers see it, with one signing key at a time.

As Entra's, it is every tenant's: the tenant in the path becomes the token's ``tid``. Tokens say that they are of
``login.microsoftonline.com``, so that an API which trusts the keys here is configured as for the real one otherwise.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from local.tenant.web import Answer, Request, json_answer

LOGIN = "https://login.microsoftonline.com"
STS = "https://sts.windows.net"
READ, READ_WRITE = "Synchronization.Read.All", "Synchronization.ReadWrite.All"
READER = "5d0c1b7e-3a62-4f8d-9b15-c70e4a2d8f36"
WRITER = "a94e6f20-7b1d-4c53-8e07-2f6d9c3b5a18"
SECRET = "local-client-secret"

_LIFETIME = 3600
_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_METADATA = re.compile(r"/([^/]+)/v2\.0/\.well-known/openid-configuration")
_KEYS = re.compile(r"/[^/]+/discovery/v2\.0/keys")
_TOKEN = re.compile(rf"/({_GUID})/oauth2/v2\.0/token", re.IGNORECASE)
_SCOPE = re.compile(r"(?:api://)?([^ ]+)/\.default")


@dataclass(frozen=True, slots=True)
class Client:
    """An application that may ask for tokens, and the app roles that it was given, the same in every tenant."""

    secret: str
    roles: tuple[str, ...]


def _default_clients() -> dict[str, Client]:
    return {READER: Client(SECRET, (READ,)), WRITER: Client(SECRET, (READ_WRITE,))}


@dataclass
class TokenIssuer:
    """Signs tokens and publishes the keys that they can be checked with."""

    clients: dict[str, Client] = field(default_factory=_default_clients)
    _keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict[str, rsa.RSAPrivateKey])
    _making: threading.Lock = field(default_factory=threading.Lock)

    def key(self) -> tuple[str, rsa.RSAPrivateKey]:
        """The id of the key that signs now, and the key; made when it is first needed, which takes its time."""
        with self._making:
            if not self._keys:
                self._add_key()
            return list(self._keys.items())[-1]

    def rotate(self, *, withdraw: bool = False) -> None:
        """Signs with a new key from now on; ``withdraw`` takes the older ones off the list."""
        with self._making:
            if withdraw:
                self._keys.clear()
            self._add_key()

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token with these claims, whatever they are."""
        key_id, key = self.key()
        return jwt.PyJWS().encode(
            json.dumps(claims).encode(), key, algorithm="RS256", headers={"typ": "JWT", "kid": key_id, **header}
        )

    def published(self) -> dict[str, Any]:
        """The keys as a JWK Set."""
        self.key()
        common = {"use": "sig", "issuer": f"{LOGIN}/{{tenantid}}/v2.0"}
        return {
            "keys": [
                {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **common, "kid": key_id, "x5t": key_id}
                for key_id, key in self._keys.items()
            ]
        }

    def _add_key(self) -> None:
        self._keys[secrets.token_urlsafe(20)] = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def app_claims(tenant_id: str, audience: str, roles: tuple[str, ...], client_id: str = WRITER) -> dict[str, Any]:
    """What Entra says in an application's access token of version 2.0, from now on and for an hour."""
    now = int(time.time())
    return {
        "aud": audience,
        "iss": f"{LOGIN}/{tenant_id}/v2.0",
        "iat": now,
        "nbf": now,
        "exp": now + _LIFETIME,
        "azp": client_id,
        "azpacr": "1",
        "oid": client_id,
        "sub": client_id,
        "roles": list(roles),
        "tid": tenant_id,
        "ver": "2.0",
    }


def answer(issuer: TokenIssuer, request: Request) -> Answer | None:
    """The answer of the token service; None where the path is none of its."""
    if found := _METADATA.fullmatch(request.path):
        return json_answer(_metadata(request.origin, found[1]))
    if _KEYS.fullmatch(request.path):
        return json_answer(issuer.published())
    if found := _TOKEN.fullmatch(request.path):
        return _token(issuer, request, found[1].lower())
    return None


def _metadata(origin: str, tenant: str) -> dict[str, Any]:
    return {
        "issuer": f"{LOGIN}/{{tenantid}}/v2.0" if tenant == "common" else f"{LOGIN}/{tenant}/v2.0",
        "authorization_endpoint": f"{LOGIN}/{tenant}/oauth2/v2.0/authorize",
        "token_endpoint": f"{origin}/{tenant}/oauth2/v2.0/token",
        "jwks_uri": f"{origin}/{tenant}/discovery/v2.0/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _token(issuer: TokenIssuer, request: Request, tenant_id: str) -> Answer:
    if request.method != "POST":
        return _error("invalid_request", "AADSTS900561: The endpoint only accepts POST requests.", 405)
    form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
    if form.get("grant_type") != "client_credentials":
        return _error("unsupported_grant_type", "AADSTS70003: Only client_credentials are granted here.", 400)
    client = issuer.clients.get(form.get("client_id", "").lower())
    if client is None or not secrets.compare_digest(client.secret.encode(), form.get("client_secret", "").encode()):
        return _error("invalid_client", "AADSTS7000215: Invalid client or client secret provided.", 401)
    scope = _SCOPE.fullmatch(form.get("scope", ""))
    if scope is None:
        return _error("invalid_scope", "AADSTS1002012: The scope must end with /.default.", 400)
    claims = app_claims(tenant_id, scope[1], client.roles, form["client_id"].lower())
    # The token comes first: whoever has no JSON parser at hand cuts it out.
    return json_answer({"access_token": issuer.sign(claims), "token_type": "Bearer", "expires_in": _LIFETIME})


def _error(code: str, description: str, status: int) -> Answer:
    return json_answer({"error": code, "error_description": description}, status)
