"""msgraph-sdk's client over its own middleware, with two things changed: no redirects, and no long sleeps.

This module imports msgraph; nothing imports it before something talks to Graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from kiota_http.kiota_client_factory import KiotaClientFactory
from kiota_http.middleware import RetryHandler
from kiota_http.middleware.options import RedirectHandlerOption, RetryHandlerOption
from msgraph.graph_request_adapter import GraphRequestAdapter, options
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory
from msgraph_core.middleware import GraphTelemetryHandler

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


class PatientRetryHandler(RetryHandler):
    """Retries as the SDK does, but leaves a wait that is longer than ``longest_wait`` seconds to the caller: a slice
    does not sleep, it goes on later."""

    def __init__(self, longest_wait: float) -> None:
        super().__init__(RetryHandlerOption(delay=0))
        self._longest_wait = longest_wait

    def get_delay_time(
        self, retry_count: int, response: httpx.Response | None = None, delay: float = RetryHandlerOption.DEFAULT_DELAY
    ) -> float:
        """As the SDK's, except that its mark for "no retry" is returned for long waits."""
        wait = super().get_delay_time(retry_count, response, delay)
        return wait if wait <= self._longest_wait else RetryHandlerOption.MAX_DELAY


def create_adapter(
    credential: AsyncTokenCredential, scope: str, base_url: str, longest_wait: float
) -> tuple[GraphRequestAdapter, GraphServiceClient]:
    """The adapter and the request builders for one organization."""
    changed = {**options, RedirectHandlerOption.get_key(): RedirectHandlerOption(should_redirect=False)}
    middleware = [
        PatientRetryHandler(longest_wait) if isinstance(handler, RetryHandler) else handler
        for handler in KiotaClientFactory.get_default_middleware(changed)
    ]
    middleware.append(GraphTelemetryHandler(options=options["GraphTelemetryHandlerOption"]))
    adapter = GraphRequestAdapter(
        AzureIdentityAuthenticationProvider(credential, scopes=[scope]),
        GraphClientFactory.create_with_custom_middleware(middleware),
    )
    adapter.base_url = base_url
    return adapter, GraphServiceClient(request_adapter=adapter)
