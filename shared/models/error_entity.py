"""Errors on the wire, in OData's shape (graph.md §2.5)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from shared.models.base import WireModel
from shared.models.errors import ApiError


class ErrorCause(WireModel):
    """One of several causes; ``target`` names what it is about."""

    code: str
    message: str
    target: str


class InnerError(WireModel):
    """Under which ids the request is found in the logs."""

    date: str
    request_id: Annotated[str, Field(alias="request-id")]
    client_request_id: Annotated[str, Field(alias="client-request-id")]


class MainError(WireModel):
    """What went wrong: ``code`` is for programs, ``message`` for people."""

    code: str
    message: str
    target: str | None
    details: list[ErrorCause]
    inner_error: InnerError


class ErrorDocument(WireModel):
    """The body of every answer that is an error."""

    error: MainError

    @classmethod
    def of(cls, error: ApiError, date: str, request_id: str, client_request_id: str) -> Self:
        """The document that tells of an error."""
        return cls(
            error=MainError(
                code=error.code,
                message=error.message,
                target=None,
                details=[
                    ErrorCause(code=detail.code, message=detail.message, target=detail.target)
                    for detail in error.details
                ],
                inner_error=InnerError(date=date, request_id=request_id, client_request_id=client_request_id),
            )
        )
