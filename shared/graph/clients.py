"""The Graph clients of a process: one for each organization, kept for its token cache and connections."""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.graph.client import GraphClient
    from shared.models.organizations import Organization


class GraphClients:
    """The clients of this process, one for each organization: token caches and connections live in them."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._clients: dict[int, GraphClient] = {}

    def get(self, organization: Organization) -> GraphClient:
        """The organization's client, made when first asked for."""
        client = self._clients.get(organization.key)
        if client is None:
            client = self._clients[organization.key] = self.fresh(organization)
        return client

    def fresh(self, organization: Organization) -> GraphClient:
        """A client that has no token yet, for the caller, who closes it.

        Raises:
            GraphRefused: The organization's credential cannot be made.
        """
        from shared.graph.client import GraphClient
        from shared.graph.credentials import credential_for

        make_credential = partial(credential_for, organization.entity, self._settings.azure_client_id)
        return GraphClient(organization, self._settings, self._clock, make_credential)

    def with_secret(self, organization: Organization, client_id: str | None, client_secret: str) -> GraphClient:
        """A client that signs in to the organization's tenant with a secret of the caller's, who closes it.

        Args:
            organization: Whose tenant and cloud it is.
            client_id: The application that the secret belongs to; None for the organization's own.
            client_secret: Kept by the client alone.

        Raises:
            GraphRefused: The client id or the secret is empty. Whether they are right shows with the first request.
        """
        from shared.graph.client import GraphClient
        from shared.graph.credentials import secret_credential

        application = str(organization.entity.application.client_id) if client_id is None else client_id
        make_credential = partial(secret_credential, organization.entity, application, client_secret)
        return GraphClient(organization, self._settings, self._clock, make_credential)

    async def close(self) -> None:
        """Closes all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()
