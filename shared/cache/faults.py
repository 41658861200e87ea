"""Tells what a database's error means for whoever asked, without a word of the statement or of a row."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.models.errors import DatabaseBlocked, DatabaseConflict, DatabaseFailure, DatabaseUnavailable

_CONFLICTS = ("40001", "40P01")
_BLOCKED = (
    "25006",  # read-only, as after a failover
    "53100",  # disk full
    "53300",  # too many connections
    "55P03",  # lock not available
    "57P01",  # shut down by an administrator
    "57P03",  # starting up or shutting down
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
)
_UNAVAILABLE = (
    "08",  # connection lost
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction for too long
    "40",  # rolled back, or completion unknown
    "53",  # insufficient resources
    "57",  # canceled, crashed
    "58",  # error of the system beneath
    "SQLITE_IOERR",
    "SQLITE_NOMEM",
    "SQLITE_INTERRUPT",
    "SQLITE_PROTOCOL",
)
"""Beginnings of SQLSTATEs (PostgreSQL, appendix A) and of SQLite's result codes; of two that fit, the first."""


@contextmanager
def told(*, connecting: bool = False) -> Generator[None]:
    """Raises what the database fails with as an error of our own.

    The driver's words go no further: PostgreSQL quotes the row that breaks a constraint, and a row holds cursors and
    names of people.

    Args:
        connecting: Whether nothing but a connection is asked for: no part can be to blame for it.

    Raises:
        DatabaseFailure: As ``failure_of``.
    """
    try:
        yield
    except SQLAlchemyError as error:
        failure = _first_failure(error)
        if connecting and not isinstance(failure, DatabaseBlocked):
            failure = DatabaseBlocked(_name(error))
        raise failure from None


def failure_of(error: BaseException) -> DatabaseFailure:
    """What an error of SQLAlchemy or of a driver means."""
    state = _state(error)
    if state.startswith(_CONFLICTS):
        return DatabaseConflict(_name(error))
    if state.startswith(_BLOCKED):
        return DatabaseBlocked(_name(error))
    if state.startswith(_UNAVAILABLE) or (not state and _is_of_the_connection(error)):
        return DatabaseUnavailable(_name(error))
    return DatabaseFailure(_name(error))


def _first_failure(error: BaseException) -> DatabaseFailure:
    """The failure that began it: a transaction whose connection or savepoint is gone fails once more when it is rolled
    back."""
    failure, earlier = failure_of(error), error.__context__
    while earlier is not None:
        if isinstance(earlier, SQLAlchemyError | DatabaseFailure):
            cause = earlier if isinstance(earlier, DatabaseFailure) else failure_of(earlier)
            failure = cause if isinstance(cause, DatabaseUnavailable) else failure
        earlier = earlier.__context__
    return failure


def _is_of_the_connection(error: BaseException) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    names = {kind.__name__ for kind in (*type(error).__mro__, *type(_driver_error(error)).__mro__)}
    return not names.isdisjoint({"OperationalError", "InterfaceError", "TimeoutError"})


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _state(error: BaseException) -> str:
    """PostgreSQL's SQLSTATE or SQLite's result code; empty where the database itself said nothing."""
    driver_error = _driver_error(error)
    return getattr(driver_error, "sqlstate", None) or getattr(driver_error, "sqlite_errorname", None) or ""


def _name(error: BaseException) -> str:
    return " ".join(filter(None, (_state(error), type(_driver_error(error)).__name__)))
