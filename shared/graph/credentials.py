"""An organization's credential, made of azure-identity's classes (graph.md §8.2)."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from shared.graph.clouds import CLOUDS
from shared.models.errors import GraphRefused
from shared.models.organizations import CredentialKind, OrganizationEntity

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential


class RenewableCredential:
    """A credential that can be made anew: azure-identity's keep a token until it expires, a revoked one too.

    Attributes:
        issuer: The credential that issues the tokens now.
    """

    def __init__(self, make: Callable[[], AsyncTokenCredential]) -> None:
        self._make = make
        self.issuer = make()

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **more: Any,
    ) -> AccessToken:
        """As azure-identity's."""
        return await self.issuer.get_token(*scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **more)

    async def renew(self, issuer: AsyncTokenCredential) -> None:
        """Forgets the tokens of this issuer, unless somebody did so meanwhile.

        Raises:
            GraphRefused: The credential can no longer be made.
        """
        if self.issuer is issuer:
            self.issuer = self._make()
            await issuer.close()

    async def close(self) -> None:
        """Closes the connections to the authority."""
        await self.issuer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


def credential_for(organization: OrganizationEntity, identity_client_id: str | None) -> AsyncTokenCredential:
    """The credential with which the organization's tenant knows us.

    Args:
        organization: Which tenant, which application, and which kind of credential.
        identity_client_id: Client id of the app's user-assigned managed identity; None for a system-assigned one.

    Raises:
        GraphRefused: The app setting that holds the certificate or secret is missing, or holds none.
    """
    from azure.identity.aio import CertificateCredential, ClientAssertionCredential, ManagedIdentityCredential

    cloud = CLOUDS[organization.region]
    tenant_id, client_id = str(organization.tenant_id), str(organization.application.client_id)
    match organization.credential.kind:
        case CredentialKind.MANAGED_IDENTITY:
            return ManagedIdentityCredential(client_id=identity_client_id)
        case CredentialKind.FEDERATED:
            # The assertion is fetched by a synchronous callback, hence by the synchronous class.
            from azure.identity import ManagedIdentityCredential as SynchronousManagedIdentityCredential

            identity = SynchronousManagedIdentityCredential(client_id=identity_client_id)
            return ClientAssertionCredential(
                tenant_id,
                client_id,
                func=lambda: identity.get_token(cloud.token_exchange).token,
                authority=cloud.authority,
            )
        case CredentialKind.CERTIFICATE:
            try:
                certificate = b64decode(_stored_value(organization), validate=True)
                return CertificateCredential(
                    tenant_id, client_id, certificate_data=certificate, authority=cloud.authority
                )
            except ValueError:
                raise GraphRefused(
                    "CredentialUnavailable",
                    f"The app setting {_setting_of(organization)} holds no certificate in base64.",
                ) from None
        case CredentialKind.SECRET:
            return secret_credential(organization, client_id, _stored_value(organization))


def secret_credential(organization: OrganizationEntity, client_id: str, client_secret: str) -> AsyncTokenCredential:
    """A client secret's credential for the organization's tenant in its cloud.

    Raises:
        GraphRefused: The client id or the secret is empty.
    """
    from azure.identity.aio import ClientSecretCredential

    if not client_id or not client_secret:
        raise GraphRefused("CredentialUnavailable", "The client id or the client secret is empty.")
    authority = CLOUDS[organization.region].authority
    return ClientSecretCredential(str(organization.tenant_id), client_id, client_secret, authority=authority)


def secret_setting(name: str) -> str:
    """The app setting that holds the Key Vault secret of this name, in Azure as a Key Vault reference."""
    return "ORGANIZATION_SECRET_" + name.upper().replace("-", "_")


def _stored_value(organization: OrganizationEntity) -> str:
    setting = _setting_of(organization)
    value = os.environ.get(setting)
    if not value:
        raise GraphRefused("CredentialUnavailable", f"The app setting {setting} is missing.")
    return value


def _setting_of(organization: OrganizationEntity) -> str:
    return secret_setting(organization.credential.key_vault_secret or "")
