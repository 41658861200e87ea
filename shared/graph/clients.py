"""The Graph clients of a process: one for each organization, kept for its token cache and connections."""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.graph.client import GraphClient
    from shared.graph.credentials import Credentials
    from shared.models.organizations import Organization


class GraphClients:
    """The clients of this process, one for each organization: token caches and connections live in them."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._credentials: Credentials | None = None
        self._clients: dict[int, GraphClient] = {}
        self._replaced: list[GraphClient] = []

    def get(self, organization: Organization) -> GraphClient:
        """The organization's client, made when first asked for, and anew when the registration says something else."""
        client = self._clients.get(organization.key)
        if client is not None and not client.signs_in_as(organization.entity):
            # Somebody may still be reading with it.
            self._replaced.append(client)
            client = None
        if client is None:
            client = self._clients[organization.key] = self.fresh(organization)
        return client

    def fresh(self, organization: Organization) -> GraphClient:
        """A client that has no token yet, for the caller, who closes it."""
        from shared.graph.client import GraphClient

        return GraphClient(organization, self._settings, self._clock, self._made().of(organization.entity))

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

        credential = self._made().with_secret(organization.entity, client_id, client_secret)
        return GraphClient(organization, self._settings, self._clock, credential)

    async def close(self) -> None:
        """Closes all connections."""
        while self._clients:
            self._replaced.append(self._clients.popitem()[1])
        while self._replaced:
            await self._replaced.pop().close()
        if self._credentials is not None:
            await self._credentials.close()

    def _made(self) -> Credentials:
        from shared.graph.credentials import Credentials

        self._credentials = self._credentials or Credentials(self._settings)
        return self._credentials
