"""Requests in, answers out: bodies, headers and errors in one shape for every route (graph.md §2.5, §2.6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import azure.functions as func
import orjson
from pydantic import ValidationError

from shared.models.base import WireModel
from shared.models.errors import ApiError, BadRequest, PayloadTooLarge, UnsupportedMediaType

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=WireModel)

ODATA_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_JSON = "application/json;charset=utf-8"


def read_body(request: func.HttpRequest, model: type[Model], limit: int) -> Model:
    """The request's JSON body as a model; an absent body reads as ``{}``.

    Args:
        request: The request.
        model: What the body must be.
        limit: The largest body that is read, in bytes.

    Raises:
        PayloadTooLarge: The body is larger.
        UnsupportedMediaType: The body is not declared as JSON.
        BadRequest: The body is not JSON, or not of the model; the message names every member that is wrong.
    """
    body = request.get_body()
    if len(body) > limit:
        raise PayloadTooLarge(f"The body has more than {limit} bytes.")
    if not body.strip():
        body = b"{}"
    else:
        media_type = _header(request, "content-type").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise BadRequest(" ".join(_complaint(detail) for detail in error.errors(include_url=False))) from None


def json_answer(
    document: object, status: int = 200, *, headers: Mapping[str, str] | None = None, content_type: str = _JSON
) -> func.HttpResponse:
    """An answer with a JSON body."""
    return func.HttpResponse(
        orjson.dumps(document), status_code=status, headers={**(headers or {}), "Content-Type": content_type}
    )


def entity_answer(entity: WireModel, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Any:
    """An answer with one entity."""
    return json_answer(entity.wire(), status, headers=headers)


def error_answer(request: func.HttpRequest, error: ApiError) -> func.HttpResponse:
    """The answer for an error."""
    request_id, client_request_id = _request_ids(request)
    document: dict[str, Any] = {
        "error": {
            "code": error.code,
            "message": error.message,
            "target": None,
            "details": [],
            "innerError": {
                "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
                "request-id": request_id,
                "client-request-id": client_request_id,
            },
        }
    }
    answer = json_answer(document, error.status, headers=error.headers, content_type=ODATA_JSON)
    answer.headers["request-id"] = request_id
    return answer


def unforeseen_error(request: func.HttpRequest, error: Exception) -> func.HttpResponse:
    """The answer for an error that nobody foresaw: logged whole, told without its text."""
    answer = error_answer(request, ApiError("The request could not be served."))
    logger.error("request %s failed", answer.headers["request-id"], exc_info=error)
    return answer


def complete(request: func.HttpRequest, answer: func.HttpResponse) -> func.HttpResponse:
    """Adds the headers that every answer carries."""
    request_id, client_request_id = _request_ids(request)
    answer.headers.setdefault("request-id", request_id)
    answer.headers["client-request-id"] = client_request_id
    answer.headers["OData-Version"] = "4.0"
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _header(request: func.HttpRequest, name: str) -> str:
    return cast(Mapping[str, str], request.headers).get(name, "")


def _request_ids(request: func.HttpRequest) -> tuple[str, str]:
    own = str(uuid4())
    try:
        return own, str(UUID(_header(request, "client-request-id")))
    except ValueError:
        return own, own


def _complaint(detail: Any) -> str:
    place = ".".join(str(step) for step in detail["loc"]) or "body"
    return f"{place}: {detail['msg']}."
