"""A sign-in authority over TLS that checks what it is shown before it gives the tenant's access tokens.

It speaks Entra's client credentials grant with its error numbers. It does not imitate metadata and instance discovery
(azure-identity's asynchronous credentials ask for neither), throttling, conditional access, consent or signed tokens of
its own: the tokens are those that the simulated tenant takes.
"""

from __future__ import annotations

import datetime
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from local.tenant import TenantServer
from tests.graph.tls import Reply, served

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Federation:
    """A federated credential of the application: whose assertions it trusts."""

    issuer: str
    subject: str
    audience: str
    key: RSAPublicKey


class Refusal(Exception):
    """An answer by Entra's number."""

    def __init__(self, number: int, error: str = "invalid_client", status: int = 401) -> None:
        super().__init__(number)
        # Entra's messages name the application, and people where people sign in.
        told = f"AADSTS{number}: It is refused to somebody@contoso.example. Trace ID: 0"
        self.reply = (status, {"error": error, "error_description": told, "error_codes": [number]}, {})


@dataclass
class Authority:
    """Answers the client credentials grant for one tenant.

    Attributes:
        secret: The application's client secret.
        certificates: The application's certificates.
        federations: The application's federated credentials.
        neighbour: A further tenant that it knows, in which the application is as well.
        application: The only client id that the tenant knows; None for any.
        lifetime: Seconds that tokens are said to last.
        outage: What is answered instead, if anything.
        requests: Path and form of what was asked, in order.
    """

    tenant: TenantServer
    url: str = ""
    secret: str = "right-secret"
    certificates: list[x509.Certificate] = field(default_factory=list[x509.Certificate])
    federations: list[Federation] = field(default_factory=list[Federation])
    neighbour: str = ""
    application: str | None = None
    lifetime: int = 3599
    outage: Reply | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    _seen: set[str] = field(default_factory=set[str])

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        form = dict(parse_qsl(body.decode()))
        self.requests.append((handler.path, form))
        if self.outage is not None:
            return self.outage
        try:
            self._check(handler.path, form)
        except Refusal as refusal:
            return refusal.reply
        token = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": self.tenant.access_token()}
        return 200, token, {}

    def _check(self, path: str, form: dict[str, str]) -> None:
        known = (self.tenant.directory.tenant_id, self.neighbour)
        if path not in [f"/{tenant_id}/oauth2/v2.0/token" for tenant_id in known]:
            raise Refusal(90002, "invalid_request", 400)
        if form["grant_type"] != "client_credentials":
            raise Refusal(70003, "unsupported_grant_type", 400)
        if not re.fullmatch(r"https://[a-z.-]+/\.default", form["scope"]):
            raise Refusal(70011, "invalid_scope", 400)
        if self.application not in (None, form["client_id"]):
            raise Refusal(700016, "unauthorized_client", 400)
        if "client_assertion" in form:
            self._check_assertion(path, form)
        elif form.get("client_secret") != self.secret:
            raise Refusal(7000215)

    def _check_assertion(self, path: str, form: dict[str, str]) -> None:
        assertion, client_id = form["client_assertion"], form["client_id"]
        if form["client_assertion_type"] != _ASSERTION_TYPE:
            raise Refusal(50027, "invalid_request", 400)
        thumbprint = jwt.get_unverified_header(assertion).get("x5t#S256")
        if thumbprint is None:
            self._check_federated(assertion)
            return
        certificate = next((c for c in self.certificates if _thumbprint(c) == thumbprint.rstrip("=")), None)
        if certificate is None:
            raise Refusal(700027)
        if certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise Refusal(1000502)
        key = certificate.public_key()
        assert isinstance(key, RSAPublicKey)
        required = ["exp", "nbf", "jti", "sub"]
        claims = _verified(
            assertion, key, "PS256", audience=self.url + path, issuer=client_id, options={"require": required}
        )
        if claims["sub"] != client_id or claims["jti"] in self._seen:
            raise Refusal(700027)
        self._seen.add(claims["jti"])

    def _check_federated(self, assertion: str) -> None:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        trusted = self.federations
        for number, claim, value in (
            (700211, "iss", lambda one: one.issuer),
            (700213, "sub", lambda one: one.subject),
            (700212, "aud", lambda one: one.audience),
        ):
            trusted = [one for one in trusted if value(one) == claims[claim]]
            if not trusted:
                raise Refusal(number)
        _verified(assertion, trusted[0].key, "RS256", audience=trusted[0].audience, options={"require": ["exp"]})


@contextmanager
def running_authority(tenant: TenantServer) -> Iterator[Authority]:
    authority = Authority(tenant)
    with served(authority.answer) as authority.url:
        yield authority


def _verified(assertion: str, key: RSAPublicKey, algorithm: str, **expected: Any) -> dict[str, Any]:
    try:
        return jwt.decode(assertion, key, algorithms=[algorithm], **expected)
    except jwt.PyJWTError:
        raise Refusal(50013, "invalid_client") from None


def _thumbprint(certificate: x509.Certificate) -> str:
    return urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).decode().rstrip("=")
