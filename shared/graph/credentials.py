"""An organization's credential by its kind, made of azure-identity's classes (docs/graph-access.md)."""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING

from shared.graph.clouds import CLOUDS
from shared.graph.issuers import (
    FederatedCredential,
    ManagedIdentity,
    OwnTenantIdentity,
    RenewableCredential,
    StoredCredential,
)
from shared.graph.stored_values import AppSettings, KeyVault, StoredValues
from shared.models.errors import GraphRefused
from shared.models.organizations import CredentialKind, OrganizationEntity
from shared.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


class Credentials:
    """Makes the credentials of organizations, and holds what they share: the app's identity and the vault."""

    def __init__(self, settings: Settings) -> None:
        self._identity_client_id = settings.azure_client_id
        self._vault_url = str(settings.key_vault_url or "")
        self._identity: ManagedIdentity | None = None
        self._stored: StoredValues | None = None

    def of(self, organization: OrganizationEntity) -> RenewableCredential:
        """The credential with which the organization's tenant knows us, closed by the caller.

        What it is made of is asked for with the first token: that something is missing shows then.
        """
        cloud = CLOUDS[organization.region]
        tenant_id, client_id = str(organization.tenant_id), str(organization.application.client_id)
        name = organization.credential.key_vault_secret or ""
        match organization.credential.kind:
            case CredentialKind.MANAGED_IDENTITY:
                return RenewableCredential(
                    lambda: OwnTenantIdentity(ManagedIdentity(self._identity_client_id), tenant_id)
                )
            case CredentialKind.FEDERATED:
                return RenewableCredential(
                    lambda: FederatedCredential(
                        self._shared_identity(), cloud.token_exchange, tenant_id, client_id, cloud.authority
                    )
                )
            case CredentialKind.CERTIFICATE:
                make = partial(self._certificate, organization)
            case CredentialKind.SECRET:
                make = partial(_secret, organization, client_id)
        return RenewableCredential(lambda: StoredCredential(lambda: self._values().read(name), make))

    def with_secret(
        self, organization: OrganizationEntity, client_id: str | None, client_secret: str
    ) -> RenewableCredential:
        """A client secret's credential for the organization's tenant in its cloud, closed by the caller.

        Args:
            organization: Whose tenant and cloud it is.
            client_id: The application that the secret belongs to; None for the organization's own.
            client_secret: Kept by the credential alone.

        Raises:
            GraphRefused: The client id or the secret is empty.
        """
        application = str(organization.application.client_id) if client_id is None else client_id
        return RenewableCredential(partial(_secret, organization, application, client_secret))

    async def close(self) -> None:
        """Closes the connections to the vault and to the app's identity endpoint."""
        stored, identity = self._stored, self._identity
        self._stored = self._identity = None
        if stored is not None:
            await stored.close()
        if identity is not None:
            await identity.close()

    def _shared_identity(self) -> ManagedIdentity:
        """One for all organizations: its assertion is the same for each of them."""
        if self._identity is None:
            self._identity = ManagedIdentity(self._identity_client_id)
        return self._identity

    def _values(self) -> StoredValues:
        if self._stored is None:
            self._stored = KeyVault(self._vault_url, self._shared_identity()) if self._vault_url else AppSettings()
        return self._stored

    def _certificate(self, organization: OrganizationEntity, value: str) -> AsyncTokenCredential:
        from azure.identity.aio import CertificateCredential

        try:
            # Key Vault keeps a PFX file in base64, and a PEM file as it is.
            certificate = value.encode() if "-----BEGIN" in value else b64decode(value, validate=True)
            return CertificateCredential(
                str(organization.tenant_id),
                str(organization.application.client_id),
                certificate_data=certificate,
                authority=CLOUDS[organization.region].authority,
            )
        except (ValueError, TypeError):
            place = self._values().place(organization.credential.key_vault_secret or "")
            told = f"{place} holds no certificate with its RSA key, as a PFX file in base64 or as a PEM file."
            raise GraphRefused("CredentialUnavailable", told) from None


def _secret(organization: OrganizationEntity, client_id: str, client_secret: str) -> AsyncTokenCredential:
    from azure.identity.aio import ClientSecretCredential

    if not client_id or not client_secret:
        raise GraphRefused("CredentialUnavailable", "The client id or the client secret is empty.")
    authority = CLOUDS[organization.region].authority
    return ClientSecretCredential(str(organization.tenant_id), client_id, client_secret, authority=authority)
