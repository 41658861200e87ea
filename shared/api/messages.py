"""Requests in, answers out: bodies, headers and errors in one shape for every route (graph.md §2.5, §2.6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, cast
from uuid import UUID, uuid4

import azure.functions as func
import orjson
from pydantic import ValidationError

from shared.api.operations import Body
from shared.models.base import WireModel
from shared.models.error_entity import ErrorDocument
from shared.models.errors import ApiError, BadRequest, PayloadTooLarge, UnsupportedMediaType

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=WireModel)

ODATA_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_JSON = "application/json;charset=utf-8"
_CONTENT_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""An answer that a browser is made to show runs, loads and sends nothing, and is shown in nobody's frame."""
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": _CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
}
"""What every answer carries, unless it says otherwise itself."""
_COMPLAINTS = 10
_NAME_LENGTH = 64


def read_body(request: func.HttpRequest, body: Body[Model], limit: int) -> Model:
    """The request's JSON body as a model; an absent body reads as ``{}``.

    Args:
        request: The request.
        body: What the body must be, as the route declares it.
        limit: The largest body that is read, in bytes.

    Raises:
        PayloadTooLarge: The body is larger.
        UnsupportedMediaType: The body is not declared as JSON.
        BadRequest: The body is not JSON, or not of the model; the message names every member that is wrong.
    """
    given = request.get_body()
    if len(given) > limit:
        raise PayloadTooLarge(f"The body has more than {limit} bytes.")
    if not given.strip():
        given = b"{}"
    else:
        media_type = header(request, "content-type").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
    try:
        document = orjson.loads(given)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    try:
        return body.model().model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise BadRequest(_complaints(error)) from None


def json_answer(
    document: object, status: int = 200, *, headers: Mapping[str, str] | None = None, content_type: str = _JSON
) -> func.HttpResponse:
    """An answer with a JSON body."""
    return func.HttpResponse(
        orjson.dumps(document), status_code=status, headers={**(headers or {}), "Content-Type": content_type}
    )


def entity_answer(
    entity: WireModel, status: int = 200, *, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """An answer with one entity."""
    return json_answer(entity.wire(), status, headers=headers)


def page_answer(document: str) -> func.HttpResponse:
    """An answer with a page for people, which has its styles within and loads nothing."""
    policy = {"Content-Security-Policy": f"style-src 'unsafe-inline'; {_CONTENT_POLICY}"}
    return func.HttpResponse(document, headers=policy, mimetype="text/html", charset="utf-8")


@dataclass(frozen=True, slots=True)
class RequestIds:
    """The ids under which one request is known: ours, and the caller's where it gave one."""

    request_id: str
    client_request_id: str

    @classmethod
    def of(cls, request: func.HttpRequest) -> RequestIds:
        """The ids of a request; what the caller gives is repeated only if it is a GUID."""
        own, given = str(uuid4()), header(request, "client-request-id")
        try:
            UUID(given)
        except ValueError:
            return cls(own, own)
        return cls(own, given)


def error_answer(ids: RequestIds, error: ApiError) -> func.HttpResponse:
    """The answer for an error."""
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    document = ErrorDocument.of(error, date, ids.request_id, ids.client_request_id).wire()
    return json_answer(document, error.status, headers=error.headers, content_type=ODATA_JSON)


def unforeseen_error(ids: RequestIds, error: Exception) -> func.HttpResponse:
    """The answer for an error that nobody foresaw: logged whole, told without its text."""
    logger.error("request %s failed", ids.request_id, exc_info=error)
    return error_answer(ids, ApiError("The request could not be served."))


def complete(ids: RequestIds, answer: func.HttpResponse) -> func.HttpResponse:
    """Adds the headers that every answer carries."""
    answer.headers["request-id"] = ids.request_id
    answer.headers["client-request-id"] = ids.client_request_id
    answer.headers["OData-Version"] = "4.0"
    for name, value in _SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def header(request: func.HttpRequest, name: str) -> str:
    """A header's value, the name in any letter case; empty without it."""
    return cast(Mapping[str, str], request.headers).get(name, "")


def _complaints(error: ValidationError) -> str:
    """What is wrong with a body, member by member; its values are not repeated, and names only up to a length."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    told = [_complaint(detail["loc"], detail["type"], detail["msg"]) for detail in details[:_COMPLAINTS]]
    if len(details) > _COMPLAINTS:
        told.append(f"And {len(details) - _COMPLAINTS} more.")
    return " ".join(told)


def _complaint(location: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ".".join(str(step)[:_NAME_LENGTH] for step in location) or "body"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "Input should be a JSON object"
    return f"{place}: {message.removeprefix('Value error, ')}."
