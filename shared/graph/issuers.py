"""What tokens come from: azure-identity's credentials, each with what the product has to add (graph.md §8.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self

from shared.graph.failures import passes_by_itself
from shared.models.errors import GraphRefused, GraphUnavailable

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential


class TokenIssuer:
    """A credential as the SDKs take it."""

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **more: Any,
    ) -> AccessToken:
        """As azure-identity's.

        Raises:
            GraphRefused: What the credential is made of is missing or cannot be used.
            GraphUnavailable: What the credential is made of cannot be had at the moment.
            azure.core.exceptions.AzureError: The sign-in authority issues no token, or does not answer.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the connections."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


class RenewableCredential(TokenIssuer):
    """A credential that can be made anew: azure-identity's keep a token until it expires, a revoked one too.

    Attributes:
        issuer: The credential that issues the tokens now.
    """

    def __init__(self, make: Callable[[], AsyncTokenCredential]) -> None:
        self._make = make
        self.issuer = make()
        self._replaced: AsyncTokenCredential | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As azure-identity's."""
        return await self.issuer.get_token(*scopes, **options)

    async def renew(self, issuer: AsyncTokenCredential) -> None:
        """Forgets the tokens of this issuer, unless somebody did so meanwhile."""
        if self.issuer is not issuer:
            return
        # Other requests may still wait for a token of it: it is closed when the next one is replaced.
        closing, self._replaced, self.issuer = self._replaced, issuer, self._make()
        if closing is not None:
            await closing.close()

    async def close(self) -> None:
        """Closes the connections to the authority."""
        await self.issuer.close()
        if self._replaced is not None:
            await self._replaced.close()


class ManagedIdentity(TokenIssuer):
    """The app's own identity. That it gets no token is for nobody in an organization's tenant to repair."""

    def __init__(self, client_id: str | None) -> None:
        """
        Args:
            client_id: Client id of the app's user-assigned identity; None for the system-assigned one.
        """
        from azure.identity.aio import ManagedIdentityCredential

        self._credential = ManagedIdentityCredential(client_id=client_id)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As azure-identity's, which raises no errors of its own."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            return await self._credential.get_token(*scopes, **options)
        except ClientAuthenticationError as error:
            if error.status_code is None:
                raise GraphRefused("CredentialUnavailable", "The app has no managed identity here.") from None
            told = f"The app's managed identity got no token (status {error.status_code})."
            if passes_by_itself(error):
                raise GraphUnavailable("NoAnswer", told) from None
            raise GraphRefused("CredentialUnavailable", told) from None
        except AzureError as error:
            told = f"The app's identity endpoint gave no answer ({type(error).__name__})."
            raise GraphUnavailable("NoAnswer", told) from None

    async def close(self) -> None:
        """Closes the connections to the identity endpoint."""
        await self._credential.close()


class OwnTenantIdentity(TokenIssuer):
    """The app's identity where it reads the tenant that it lives in.

    An identity has tokens of its own tenant alone, whatever tenant is meant: that another one is meant would not show
    in Graph's answers, and that organization's cache would fill with the objects of this tenant.
    """

    def __init__(self, identity: ManagedIdentity, tenant_id: str) -> None:
        """
        Args:
            identity: Closed with this one.
            tenant_id: The organization's tenant, in lower case.
        """
        self._identity = identity
        self._tenant_id = tenant_id
        self._known_token = ""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As the identity's, if it is one of the organization's tenant."""
        token = await self._identity.get_token(*scopes, **options)
        if token.token != self._known_token:
            if _tenant_of(token.token) != self._tenant_id:
                raise GraphRefused(
                    "CredentialUnavailable",
                    "The app's managed identity belongs to another tenant than the organization: register the "
                    "organization with a credential of kind federated.",
                )
            self._known_token = token.token
        return token

    async def close(self) -> None:
        """Closes the connections to the identity endpoint."""
        await self._identity.close()


class FederatedCredential(TokenIssuer):
    """An application of which Entra believes the app's managed identity that the app speaks for it."""

    def __init__(
        self, identity: ManagedIdentity, token_exchange: str, tenant_id: str, client_id: str, authority: str
    ) -> None:
        """
        Args:
            identity: Vouches for the application; not closed with this one.
            token_exchange: The scope of the identity's tokens that the cloud takes for that.
            tenant_id: The tenant that is signed in to.
            client_id: The application.
            authority: The cloud's sign-in authority.
        """
        from azure.identity.aio import ClientAssertionCredential

        self._identity = identity
        self._token_exchange = token_exchange
        self._assertion = ""
        self._credential = ClientAssertionCredential(
            tenant_id, client_id, func=lambda: self._assertion, authority=authority
        )

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As azure-identity's."""
        # The class would ask a synchronous function, and everybody else would wait while that asks the identity; here
        # the identity's own cache answers nearly always.
        self._assertion = (await self._identity.get_token(self._token_exchange)).token
        return await self._credential.get_token(*scopes, **options)

    async def close(self) -> None:
        """Closes the connections to the authority."""
        await self._credential.close()


class StoredCredential(TokenIssuer):
    """A credential made of a stored value, which is read when first needed, and anew when Entra refuses it.

    So a certificate or secret is replaced where it is stored, and nothing has to be restarted.
    """

    def __init__(self, read: Callable[[], Awaitable[str]], make: Callable[[str], AsyncTokenCredential]) -> None:
        """
        Args:
            read: The value that is stored now.
            make: A credential of that value.
        """
        self._read = read
        self._make = make
        self._value: str | None = None
        self._made: list[AsyncTokenCredential] = []
        self._reading = asyncio.Lock()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As azure-identity's."""
        from azure.core.exceptions import ClientAuthenticationError

        issuer = self._made[-1] if self._made else await self._newer_than(None)
        try:
            return await issuer.get_token(*scopes, **options)
        except ClientAuthenticationError as refusal:
            if passes_by_itself(refusal):
                raise
            renewed = await self._newer_than(issuer)
            if renewed is issuer:
                raise
        return await renewed.get_token(*scopes, **options)

    async def close(self) -> None:
        """Closes the connections to the authority."""
        for issuer in self._made:
            await issuer.close()

    async def _newer_than(self, known: AsyncTokenCredential | None) -> AsyncTokenCredential:
        """The credential of the value that is stored now: the known one if that is what it was made of."""
        async with self._reading:
            if not self._made or self._made[-1] is known:
                value = await self._read()
                if value != self._value:
                    self._made.append(self._make(value))
                    self._value = value
            return self._made[-1]


def _tenant_of(token: str) -> str | None:
    """The tenant that a token says it is of: Graph judges the token, here it is only looked at."""
    import jwt

    try:
        return jwt.decode(token, options={"verify_signature": False}).get("tid")
    except jwt.PyJWTError:
        return None
