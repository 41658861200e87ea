"""Sends one organization's requests, and tells what a failed one means for the part that made it."""
# pyright: strict, reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from shared.graph.failures import NOT_OFFERED, NoBody, failure_of_answer, passes_by_itself
from shared.graph.issuers import RenewableCredential
from shared.models.errors import GraphRefused, GraphUnavailable
from shared.models.parts import Part
from shared.telemetry.spans import request_span

if TYPE_CHECKING:
    from azure.core.exceptions import ClientAuthenticationError
    from kiota_abstractions.api_error import APIError
    from kiota_abstractions.request_information import RequestInformation

    from shared.graph.adapter import Answer, GraphConnection


class Sender:
    """The connection as the parts use it.

    Every method raises:
        GraphUnavailable: No answer, or an error of Graph's own; GraphThrottled when it asked for a longer wait.
        CursorExpired: Graph no longer knows the link.
        GraphRefused: Credential, permission or request are refused.
    """

    def __init__(
        self,
        connection: GraphConnection,
        organization: str,
        credential: RenewableCredential,
        timeout: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._connection = connection
        self._organization = organization
        self._credential = credential
        self._timeout = timeout
        self._clock = clock

    async def send(self, part: Part, request: RequestInformation, path: str, *, may_be_empty: bool = False) -> Answer:
        """The answer to a request; ``path`` is how the request is called in errors, since addresses hold cursors.

        Args:
            part: Says which permission is missing, should it be refused.
            request: The request.
            path: Its path, with ``{id}`` in place of an id.
            may_be_empty: Whether there may be nothing in the answer.
        """
        from kiota_abstractions.api_error import APIError

        method = _method(request)
        with request_span(self._organization, part, method, path), self._told(method, path):
            try:
                return await self._answer(request, may_be_empty=may_be_empty)
            except APIError as error:
                code, headers = _code(error), _lower(error.response_headers or {})
                status, now = error.response_status_code or 0, self._clock()
                raise failure_of_answer(part, path, status, code, headers, now, method=method) from None

    async def send_batch(self, part: Part, root: str, body: bytes, *, low_priority: bool) -> bytes:
        """The answer to a batch; where there is no $batch, the same of its requests, sent one by one."""
        from kiota_abstractions.method import Method
        from kiota_abstractions.request_information import RequestInformation

        # The SDK's own batch items hold absolute addresses, which Graph does not take.
        request = RequestInformation(Method.POST, f"{root}/$batch")
        request.headers.try_add("Accept", "application/json")
        request.set_stream_content(body, "application/json")
        try:
            return (await self.send(part, prioritized(request, low_priority), "/$batch")).body
        except GraphRefused as refusal:
            if refusal.status not in NOT_OFFERED:
                raise
        assert part.question is not None
        responses: list[dict[str, Any]] = []
        for entry in orjson.loads(body)["requests"]:
            request = prioritized(RequestInformation(Method.GET, root + entry["url"]), low_priority)
            request.headers.try_add("Accept", "application/json")
            responses.append({"id": entry["id"], **await self._entry(part, request, part.question.path)})
        return orjson.dumps({"responses": responses})

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.close()

    async def _entry(self, part: Part, request: RequestInformation, path: str) -> dict[str, Any]:
        """The answer as an entry of a batch's, whatever its status."""
        from kiota_abstractions.api_error import APIError

        with request_span(self._organization, part, "GET", path), self._told("GET", path):
            try:
                answer = await self._answer(request)
            except APIError as error:
                headers = _lower(error.response_headers or {})
                body = {"error": {"code": _code(error)}}
                return {"status": error.response_status_code or 0, "headers": headers, "body": body}
            try:
                return {"status": 200, "headers": {}, "body": orjson.loads(answer.body)}
            except ValueError:
                raise GraphUnavailable("MalformedAnswer", f"GET {path} answered no JSON.") from None

    async def _answer(self, request: RequestInformation, *, may_be_empty: bool = False) -> Answer:
        """As the connection's ``send``; a token that Graph refuses is replaced once, for it may have been revoked."""
        from kiota_abstractions.api_error import APIError

        async with asyncio.timeout(self._timeout):
            issuer = self._credential.issuer
            try:
                return await self._connection.send(request, may_be_empty=may_be_empty)
            except APIError as error:
                if error.response_status_code != 401:
                    raise
            await self._credential.renew(issuer)
            request.headers.remove("Authorization")
            return await self._connection.send(request, may_be_empty=may_be_empty)

    @contextmanager
    def _told(self, method: str, path: str) -> Generator[None]:
        """Raises what keeps an answer from coming as an error of our own."""
        import httpx
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        asked = f"{method} {path}"
        try:
            yield
        except ClientAuthenticationError as error:
            if passes_by_itself(error):
                told = f"The authority gave no usable answer about a token for {asked} (status {error.status_code})."
                raise GraphUnavailable("NoAnswer", told) from None
            raise GraphRefused(
                "EncounteredCredentialError",
                f"No token for {asked} was issued to the application ({_told_by_entra(error)}).",
                tenant_actionable=True,
            ) from None
        except AzureError as error:
            told = f"The authority gave no answer about a token for {asked} ({type(error).__name__})."
            raise GraphUnavailable("NoAnswer", told) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise GraphUnavailable("NoAnswer", f"{asked} got no answer ({type(error).__name__}).") from None
        except httpx.InvalidURL:
            raise GraphRefused("BadRequest", f"{asked} cannot be asked: its address is not valid.") from None
        except NoBody:
            raise GraphUnavailable("MalformedAnswer", f"{asked} answered without a body.") from None


def prioritized(request: RequestInformation, low_priority: bool) -> RequestInformation:
    """The request, which Graph is told to serve after others where it has to throttle (graph.md §6)."""
    if low_priority:
        request.headers.try_add("x-ms-throttle-priority", "low")
    return request


def _method(request: RequestInformation) -> str:
    return request.http_method.value if request.http_method else "GET"


def _code(error: APIError) -> str | None:
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    return error.error.code if isinstance(error, ODataError) and error.error else None


def _told_by_entra(error: ClientAuthenticationError) -> str:
    """Entra's own error number where it gave one; the rest of its message may name people and secrets."""
    number = re.search(r"AADSTS\d+", error.message or "")
    return number[0] if number else type(error).__name__


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
