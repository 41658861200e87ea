"""msgraph-sdk's client over its own middleware, with two things changed: no redirects, and no long sleeps.

This module imports msgraph; nothing imports it before something talks to Graph.
"""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from typing import TYPE_CHECKING

from shared.graph.failures import NoBody, asks_to_wait, retry_after
from shared.loading import loaded_for_good
from shared.models.errors import PartFailure
from shared.telemetry.spans import note_answer, note_attempt, note_resource_units, silence_libraries

with loaded_for_good():
    import httpx
    from kiota_abstractions.request_option import RequestOption
    from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
    from kiota_http.kiota_client_factory import KiotaClientFactory
    from kiota_http.middleware import HeadersInspectionHandler, RetryHandler
    from kiota_http.middleware.options import HeadersInspectionHandlerOption, RedirectHandlerOption, RetryHandlerOption
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError
    from msgraph.graph_request_adapter import GraphRequestAdapter
    from msgraph.graph_service_client import GraphServiceClient
    from msgraph_core import APIVersion, GraphClientFactory
    from msgraph_core.middleware import GraphTelemetryHandler
    from msgraph_core.middleware.options import GraphTelemetryHandlerOption

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from kiota_abstractions.request_information import RequestInformation


# They log the addresses of requests, and those hold cursors.
for _name in ("httpx", "httpcore", "hpack", "azure.core.pipeline.policies.http_logging_policy"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# It tells of every token, and of failures in Entra's words, which may name people; the product's errors tell of them.
logging.getLogger("azure.identity").setLevel(logging.ERROR)
# Their spans hold the same, and Graph's errors in its own words.
silence_libraries()


class PatientRetryHandler(RetryHandler):
    """Retries as the SDK does, but leaves a wait that is longer than ``longest_wait`` seconds to the caller: a slice
    does not sleep, it goes on later.

    Retry-After is read as in ``failures``. The SDK takes a fraction of a second for no advice, and asks again before
    the time (graph.md §2.7).
    """

    def __init__(self, longest_wait: float, clock: Callable[[], datetime]) -> None:
        super().__init__(RetryHandlerOption(delay=0))
        self._longest_wait = longest_wait
        self._clock = clock

    def get_delay_time(
        self, retry_count: int, response: httpx.Response | None = None, delay: float = RetryHandlerOption.DEFAULT_DELAY
    ) -> float:
        """What Graph asks for, without advice the SDK's backoff; the SDK's mark for "no retry" for long waits."""
        asked = None if response is None else retry_after(response.headers.get("retry-after"), self._clock())
        wait = asked or super().get_delay_time(retry_count, None, delay)
        return wait if wait <= self._longest_wait else RetryHandlerOption.MAX_DELAY


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer.

    Attributes:
        resource_units: What Graph took for it from the organization's budget; 0 where it did not tell.
    """

    body: bytes
    resource_units: int


class TransportToGraph(httpx.AsyncHTTPTransport):
    """Connects to Graph's own host alone, whatever the address of a request was made of; each attempt is noted."""

    def __init__(self, root: httpx.URL, *, verify: SSLContext, http2: bool, clock: Callable[[], datetime]) -> None:
        super().__init__(verify=verify, http2=http2)
        self._endpoint = _endpoint(root)
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As the library's.

        Raises:
            PartFailure: The request would leave for another host.
        """
        if _endpoint(request.url) != self._endpoint:
            raise PartFailure("ForeignLink", "A request for Graph was addressed to another host; it was not sent.")
        note_attempt()
        response = await super().handle_async_request(request)
        wait = retry_after(response.headers.get("retry-after"), self._clock())
        note_answer(response.status_code, asks_to_wait=asks_to_wait(response.status_code, wait))
        return response


def _endpoint(url: httpx.URL) -> tuple[str, str, int | None]:
    """What is connected to, as the transport reads it."""
    return url.scheme, url.host, url.port


async def _refuse_redirect(response: httpx.Response) -> None:
    """The SDK would take the body of a redirect that it does not follow for the answer."""
    if response.is_redirect:
        raise httpx.TooManyRedirects("Graph's answer is a redirect.", request=response.request)


class GraphConnection:
    """The SDK's request builders, and the adapter that sends what they build.

    Attributes:
        graph: The root of the request builders.
    """

    def __init__(
        self,
        credential: AsyncTokenCredential,
        scope: str,
        base_url: str,
        *,
        timeout: float,
        longest_wait: float,
        clock: Callable[[], datetime],
    ) -> None:
        options: dict[str, RequestOption] = {
            RedirectHandlerOption.get_key(): RedirectHandlerOption(should_redirect=False)
        }
        middleware = [
            PatientRetryHandler(longest_wait, clock) if isinstance(handler, RetryHandler) else handler
            for handler in KiotaClientFactory.get_default_middleware(options)
        ]
        # The SDK takes a request's options away before it tries again: only what stands before the retries sees, with
        # its option, the headers of the last answer.
        middleware.sort(key=lambda handler: not isinstance(handler, HeadersInspectionHandler))
        middleware.append(GraphTelemetryHandler(GraphTelemetryHandlerOption(APIVersion.v1)))
        self._credential = credential
        # The SDK's transport does not pass its closing on to the one beneath, so that one is kept at hand.
        self._transport = TransportToGraph(httpx.URL(base_url), verify=_trusted(), http2=True, clock=clock)
        client = httpx.AsyncClient(
            transport=self._transport,
            timeout=timeout,
            event_hooks={"response": [_refuse_redirect]},
            # Graph needs none, and one that cannot be sent back would end every request from then on.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self._adapter = GraphRequestAdapter(
            AzureIdentityAuthenticationProvider(credential, scopes=[scope]),
            GraphClientFactory.create_with_custom_middleware(middleware, client=client),
        )
        self._adapter.base_url = base_url
        self.graph = GraphServiceClient(request_adapter=self._adapter)

    async def send(self, request: RequestInformation, *, may_be_empty: bool = False) -> Answer:
        """The answer to a request; ``may_be_empty`` where it is nothing but that all went well.

        Raises:
            kiota_abstractions.api_error.APIError: Graph answered with an error.
            httpx.HTTPError: Graph did not answer.
            NoBody: There is nothing in the answer.
            azure.core.exceptions.AzureError: No token was issued.
        """
        # One for each request: several are under way at the same time.
        inspection = HeadersInspectionHandlerOption(inspect_request_headers=False)
        request.add_request_options([inspection])
        body = await self._adapter.send_primitive_async(request, "bytes", {"XXX": ODataError})
        if body is None and not may_be_empty:
            raise NoBody
        answer = Answer(body or b"", _resource_units(inspection))
        note_resource_units(answer.resource_units)
        return answer

    async def close(self) -> None:
        """Closes the connections to Graph and to the authority."""
        await self._transport.aclose()
        await self._credential.close()


@cache
def _trusted() -> SSLContext:
    """Whom connections trust: read once, for it takes 40 ms, and every organization has connections of its own."""
    return httpx.create_ssl_context()


def _resource_units(inspection: HeadersInspectionHandlerOption) -> int:
    """A number that no request costs would be somebody else's mistake, and must not spoil the sum."""
    told = inspection.response_headers.get("x-ms-resource-unit")
    return sum(int(value) for value in told if re.fullmatch(r"\d{1,4}", value))
