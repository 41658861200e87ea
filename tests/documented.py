"""Holds what the API answers in any test against what its OpenAPI document says that it may answer."""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx

import function_app
from local.host.metadata import read_functions
from local.host.routing import Router, decode_path
from shared.api.openapi import document

_ROUTER = Router(read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"}), "")


@cache
def operations() -> dict[str, Any]:
    """What the document says of each function."""
    return {told["operationId"]: told for methods in document()["paths"].values() for told in methods.values()}


def check_documented(answer: httpx.Response) -> None:
    """Fails on a status or a media type that the document does not have for what was asked."""
    if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and answer.headers.get("Content-Length") == "0":
        # The host's own: a function whose messages no queue takes has already answered.
        return
    found = _ROUTER.find(answer.request.method, decode_path(answer.request.url.raw_path.partition(b"?")[0]))
    if found is None or (told := operations().get(found[0].function.name)) is None:
        return
    function, status = found[0].function.name, str(answer.status_code)
    assert status in told["responses"], f"{function} answers {status}, of which the document says nothing"
    if documented := told["responses"][status].get("content"):
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        assert media_type in documented, f"{function} answers {status} as {media_type}"
