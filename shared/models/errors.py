"""The errors that leave the product, as one tree.

SynchronizationFailure          a part cannot go on
├── GraphUnavailable            passes by itself: the slice is tried again
│   ├── GraphThrottled          Graph asked for a longer wait than a slice sits through
│   └── SharedWait              Graph asked that of another slice, and the wait holds for this one as well
├── DatabaseFailure             the cache database did not do what it was asked: the slice is tried again
│   └── DatabaseUnavailable     passes by itself
│       ├── DatabaseBlocked     nobody can write at the moment: no part is to blame for it
│       └── DatabaseConflict    the transaction was taken back for the sake of another one
└── PartFailure                 does not pass by itself: the part's run fails
    ├── CursorExpired           the cursor is no longer known: the part starts a full run
    └── GraphRefused            Graph refused the request; says what the tenant can do
        └── GraphNotFound       Graph has no such object
ApiError                        an HTTP request cannot be served
├── BadRequest (400)  ├── Unauthorized (401)  ├── Forbidden (403)  ├── NotFound (404)  ├── MethodNotAllowed (405)
└── Conflict (409)  └── PayloadTooLarge (413)  └── UnsupportedMediaType (415)  └── ServiceUnavailable (503)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.models.parts import Family
from shared.models.synchronization import SynchronizationError

TOO_MANY_REQUESTS = "TooManyRequests"
"""The code of every wait that Graph asked for."""


class SynchronizationFailure(Exception):
    """A part cannot go on. ``code`` and ``message`` are shown to people and hold no secret, cursor or personal data."""

    def __init__(self, code: str, message: str, *, tenant_actionable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.tenant_actionable = tenant_actionable

    def told(self) -> SynchronizationError:
        """The failure as people read it."""
        return SynchronizationError(code=self.code, message=self.message, tenant_actionable=self.tenant_actionable)


class GraphUnavailable(SynchronizationFailure):
    """Graph did not answer, or answered with an error of its own; trying again later helps."""


class GraphThrottled(GraphUnavailable):
    """Graph asked to wait ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(TOO_MANY_REQUESTS, message)
        self.retry_after = retry_after


class SharedWait(GraphUnavailable):
    """Graph asked another slice of the organization to wait ``until`` then; one budget serves the whole family."""

    def __init__(self, family: Family, until: datetime) -> None:
        super().__init__(TOO_MANY_REQUESTS, f"Graph asked for a wait before the next request to its {family} services.")
        self.until = until


class DatabaseFailure(SynchronizationFailure):
    """The cache database did not do what it was asked. Of its own words only the error's name is kept: they quote
    statements and rows."""

    def __init__(self, name: str) -> None:
        super().__init__("DatabaseFailed", f"The cache database failed ({name}).")


class DatabaseUnavailable(DatabaseFailure):
    """The cache database cannot be used at the moment; trying again later helps. Whether a transaction that was being
    committed is kept is unknown."""

    def __init__(self, name: str) -> None:
        SynchronizationFailure.__init__(self, "DatabaseUnavailable", f"The cache database is unavailable ({name}).")


class DatabaseBlocked(DatabaseUnavailable):
    """Nobody can write: no connection comes about, the disk is full, the database is locked or read-only."""


class DatabaseConflict(DatabaseUnavailable):
    """The transaction was rolled back as a whole, for a deadlock or a serialization failure; it can be begun again."""


class PartFailure(SynchronizationFailure):
    """The part's run fails; the other parts go on."""


class CursorExpired(PartFailure):
    """Graph no longer knows the cursor (410, or syncStateNotFound: graph.md §4.5)."""


class GraphRefused(PartFailure):
    """Graph refused the request: credentials, permission or the request itself; ``status`` is that of its answer."""

    def __init__(self, code: str, message: str, *, status: int | None = None, tenant_actionable: bool = False) -> None:
        super().__init__(code, message, tenant_actionable=tenant_actionable)
        self.status = status


class GraphNotFound(GraphRefused):
    """Graph has no live object of that id."""


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One of several causes of an ApiError; ``target`` names what it is about."""

    code: str
    message: str
    target: str


class ApiError(Exception):
    """An HTTP request cannot be served; ``code`` is the OData error code (graph.md §2.5)."""

    status = 500
    code = "generalException"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        details: Sequence[ErrorDetail] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.headers = headers or {}
        self.details = details


class BadRequest(ApiError):
    """The request itself is wrong."""

    status = 400
    code = "Request_BadRequest"


class Unauthorized(ApiError):
    """The request comes without a token that can be used."""

    status = 401
    code = "InvalidAuthenticationToken"


class Forbidden(ApiError):
    """The caller is known, and may not do this."""

    status = 403
    code = "Authorization_RequestDenied"


class NotFound(ApiError):
    """What the path names does not exist."""

    status = 404
    code = "Request_ResourceNotFound"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    status = 405
    code = "Request_BadRequest"


class Conflict(ApiError):
    """The request contradicts what is there."""

    status = 409
    code = "conflict"


class PayloadTooLarge(ApiError):
    """The body is larger than the API reads."""

    status = 413
    code = "Request_EntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body is not JSON."""

    status = 415
    code = "Request_UnsupportedMediaType"


class ServiceUnavailable(ApiError):
    """What the request needs does not answer; asking again later helps."""

    status = 503
    code = "serviceNotAvailable"
