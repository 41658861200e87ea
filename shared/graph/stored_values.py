"""The values behind the names that registrations give: they are Key Vault's, and never the database's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol

from shared.graph.failures import passes_by_itself
from shared.models.errors import GraphRefused, GraphUnavailable

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

    from shared.graph.issuers import ManagedIdentity


class StoredValues(Protocol):
    """Where values are stored."""

    def place(self, name: str) -> str:
        """What an error calls the place of the value, at the beginning of a sentence."""
        ...

    async def read(self, name: str) -> str:
        """The value that is stored now.

        Args:
            name: As registrations give it: letters, digits and hyphens.

        Raises:
            GraphRefused: There is none, or it may not be read.
            GraphUnavailable: It cannot be read at the moment.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class KeyVault:
    """A vault that the app's managed identity reads."""

    def __init__(self, url: str, identity: ManagedIdentity) -> None:
        """
        Args:
            url: The vault's address.
            identity: Not closed with the vault.
        """
        from azure.keyvault.secrets.aio import SecretClient

        # Only a vault of which the identity's tokens are asked gets one: the client compares the two (its default).
        self._client = SecretClient(url, identity, permit_redirects=False)

    def place(self, name: str) -> str:
        """The secret by its name."""
        return f"The secret {name} in Key Vault"

    async def read(self, name: str) -> str:
        """The value of the secret's newest version."""
        from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

        place = self.place(name)
        try:
            value = (await self._client.get_secret(name)).value
        except ResourceNotFoundError:
            raise GraphRefused("CredentialUnavailable", f"{place} is missing.") from None
        except HttpResponseError as error:
            told = f"{place} cannot be read ({_reason(error)})"
            if passes_by_itself(error):
                raise GraphUnavailable("NoAnswer", f"{told}.") from None
            told += ": the app's managed identity needs the role Key Vault Secrets User, and the secret must be enabled"
            raise GraphRefused("CredentialUnavailable", f"{told}.") from None
        except AzureError as error:
            raise GraphUnavailable("NoAnswer", f"Key Vault gave no answer ({type(error).__name__}).") from None
        except ValueError:
            told = "KEY_VAULT_URL names no Key Vault: it asks for tokens of another host."
            raise GraphRefused("CredentialUnavailable", told) from None
        if not value:
            raise GraphRefused("CredentialUnavailable", f"{place} is empty.")
        return value

    async def close(self) -> None:
        """Closes the connections to the vault."""
        await self._client.close()


class AppSettings:
    """App settings, where there is no vault: on a developer's machine."""

    def place(self, name: str) -> str:
        """The setting by its name."""
        return f"The app setting ORGANIZATION_SECRET_{name.upper().replace('-', '_')}"

    async def read(self, name: str) -> str:
        """The setting's value."""
        place = self.place(name)
        value = os.environ.get(place.rpartition(" ")[2])
        if not value:
            raise GraphRefused("CredentialUnavailable", f"{place} is missing.")
        return value

    async def close(self) -> None:
        """There is nothing to close."""


def _reason(error: HttpResponseError) -> str:
    """Key Vault's own word for a refusal where it gave one, else the status; its message is kept to itself."""
    inner: dict[str, object] = getattr(error.error, "innererror", None) or {}
    code = inner.get("code")
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z]{1,64}", code) else f"status {error.status_code}"
