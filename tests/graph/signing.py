"""Everything that a sign-in takes part in, and the words of tests that use it."""

from __future__ import annotations

import datetime
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from local.tenant import TenantServer
from shared.graph.clouds import CLOUDS
from shared.models.organizations import CredentialKind, Region
from tests.graph.app_service import (
    IDENTITY_HEADER,
    Identity,
    Vault,
    public_key,
    running_identity,
    running_vault,
)
from tests.graph.authority import Authority, Federation, running_authority

NAME = "contoso-1"
"""The secret's name in the vault."""
AUDIENCES = {
    Region.WORLDWIDE: "api://AzureADTokenExchange",
    Region.US_GOVERNMENT: "api://AzureADTokenExchangeUSGov",
    Region.US_DEFENCE: "api://AzureADTokenExchangeUSGov",
    Region.CHINA: "api://AzureADTokenExchangeChina",
}


@dataclass
class SignIn:
    """The authority of a region, the app's identity, and the vault.

    Attributes:
        waits: The seconds that azure-core waited for between tries, none of them really.
    """

    region: Region
    authority: Authority
    identity: Identity
    vault: Vault
    waits: list[float]

    @property
    def settings(self) -> dict[str, Any]:
        """The app settings of an app that has the identity and the vault."""
        return {"azure_client_id": self.identity.client_id, "key_vault_url": self.vault.url}

    def prepare(self, kind: CredentialKind, *, stored: str | None = None) -> dict[str, Any]:
        """Makes the authority know a credential of this kind; what a registration says of it."""
        match kind:
            case CredentialKind.MANAGED_IDENTITY:
                pass
            case CredentialKind.FEDERATED:
                self.authority.federations = [self.federation()]
            case CredentialKind.CERTIFICATE:
                self.authority.certificates = [certificate()[0]]
                self.vault.values[NAME] = stored or pfx(*certificate())
            case CredentialKind.SECRET:
                self.vault.values[NAME] = stored or self.authority.secret
        named = kind in (CredentialKind.CERTIFICATE, CredentialKind.SECRET)
        return {"region": self.region, "credential": {"kind": kind, **({"keyVaultSecret": NAME} if named else {})}}

    def federation(self, **changed: Any) -> Federation:
        """The federated credential by which the application trusts the app's identity."""
        trusted = Federation(self.identity.issuer, self.identity.principal_id, AUDIENCES[self.region], public_key())
        return replace(trusted, **changed)


@contextmanager
def sign_in(tenant: TenantServer, monkeypatch: pytest.MonkeyPatch, region: Region) -> Iterator[SignIn]:
    """The region's authority is one of this machine, and the app has an identity and a vault."""
    waits: list[float] = []

    async def at_once(transport: object, duration: float) -> None:
        waits.append(duration)

    with (
        running_authority(tenant) as authority,
        running_identity(tenant) as identity,
        running_vault(identity) as vault,
        monkeypatch.context() as patched,
    ):
        patched.setitem(CLOUDS, region, replace(CLOUDS[region], authority=authority.url))
        patched.setenv("IDENTITY_ENDPOINT", identity.url)
        patched.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        patched.setattr("azure.core.pipeline.transport.AioHttpTransport.sleep", at_once)
        yield SignIn(region, authority, identity, vault, waits)


@cache
def certificate(days: int = 30, number: int = 0) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate of the application that expires in so many days, and its key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"organization cache {number}")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made, key


def pfx(made: x509.Certificate, key: rsa.RSAPrivateKey) -> str:
    """As Key Vault gives the certificates that it makes itself."""
    return b64encode(
        pkcs12.serialize_key_and_certificates(None, key, made, None, serialization.NoEncryption())
    ).decode()


def pem(made: x509.Certificate, key: rsa.RSAPrivateKey) -> str:
    """As Key Vault gives certificates whose policy says PEM."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + made.public_bytes(serialization.Encoding.PEM)).decode()
