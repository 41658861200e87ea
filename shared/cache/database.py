"""The connection to the organization cache database: embedded SQLite or PostgreSQL, by the URL alone."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import certifi
import orjson
from sqlalchemy import Connection, Engine, Executable, Row, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.cache import faults
from shared.models.errors import DatabaseConflict

Result = TypeVar("Result")

_BUSY_SECONDS = 30
_SQLITE_WAL_PAGES = 25_000
_CONFLICT_SECONDS = (0.1, 0.4)
_PATIENCE = {
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's; a server that vanished without a word, as in a failover, is otherwise waited for longer than a function may
run. What the URL says goes before."""

_BEGIN = {
    # A writer takes the lock at once: a reader that becomes a writer half-way fails with "database is locked".
    "sqlite": {"read": "BEGIN", "write": "BEGIN IMMEDIATE"},
    # One snapshot for all statements, as SQLite gives: a record is never half of one run, half of the next.
    "postgresql": {"read": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "write": "BEGIN"},
}
"""How transactions begin. The drivers leave that to us: what runs on a connection without it is one statement alone."""


class Database:
    """Opens connections for reading and for writing. Threads share one instance; the pool stays small because every
    worker process of every instance has one."""

    def __init__(self, url: str, password: Callable[[], str] | None = None) -> None:
        """Nothing is connected before it is used.

        Args:
            url: SQLAlchemy's, of SQLite or PostgreSQL.
            password: Gives the password of each new connection to PostgreSQL, whose URL has none then; None where the
                URL, or what libpq itself reads, is enough.
        """
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if is_sqlite else _postgresql_engine(url, password)
        event.listen(self.engine, "begin", _begin)
        begin = _BEGIN[self.engine.dialect.name]
        self._reading = self.engine.execution_options(begin=begin["read"])
        self._writing = self.engine.execution_options(begin=begin["write"])

    def rows(self, query: Executable, parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """What a single query finds. It sees one moment by itself, so that no transaction is opened for it: one round
        trip to the server where ``read`` takes three.

        Raises:
            DatabaseFailure: As ``read``.
        """
        with faults.told():
            connection, found = _first(self.engine, lambda connection: connection.execute(query, parameters).all())
            connection.close()
            return found

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that only reads, and sees one moment.

        Raises:
            DatabaseFailure: DatabaseUnavailable where trying again helps.
        """
        with _transaction(self._reading) as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction that writes: committed at the end, rolled back when an exception leaves it.

        Raises:
            DatabaseFailure: As ``read``.
        """
        with _transaction(self._writing) as connection:
            yield connection

    def transact(self, body: Callable[[Connection], Result]) -> Result:
        """What the body returns, in a transaction that writes.

        It is run again where the database has certainly taken it back as a whole, so it must do nothing but write.

        Raises:
            DatabaseFailure: As ``read``.
        """
        for longest_wait in _CONFLICT_SECONDS:
            try:
                with self.write() as connection:
                    return body(connection)
            except DatabaseConflict:
                # Two that were in each other's way are not to begin again at the same moment.
                time.sleep(random.uniform(0, longest_wait))
        with self.write() as connection:
            return body(connection)

    def close(self) -> None:
        """Closes the pooled connections."""
        self.engine.dispose()


@contextmanager
def _transaction(engine: Engine) -> Generator[Connection]:
    with faults.told():
        connection, transaction = _first(engine, lambda connection: connection.begin())
        with connection, transaction:
            yield connection


def _first(engine: Engine, ask: Callable[[Connection], Result], *, again: bool = True) -> tuple[Connection, Result]:
    """A connection with the answer to the first that is asked of it, which changes nothing: BEGIN, or a query.

    A connection that broke while it lay in the pool tells so only now. The pool then drops all that were connected
    before, and the same is asked of a new one. (To try each connection out before it is used would be a round trip
    more for every request.)
    """
    with faults.told(connecting=True):
        connection = engine.connect()
    try:
        return connection, ask(connection)
    except BaseException as error:
        connection.close()
        if not (again and isinstance(error, DBAPIError) and error.connection_invalidated):
            raise
    return _first(engine, ask, again=False)


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get("begin")
    if statement is not None:
        connection.exec_driver_sql(statement)


def _postgresql_engine(url: str, password: Callable[[], str] | None) -> Engine:
    given = make_url(url).query
    patience = {name: value for name, value in _PATIENCE.items() if name not in given}
    engine = create_engine(
        url,
        pool_size=4,
        max_overflow=8,
        hide_parameters=True,
        # Nothing is kept as hstore, whose number every process would ask the server for.
        use_native_hstore=False,
        # As ``JsonDocument`` reads SQLite's: documents are kept as Graph wrote them, and Python's own library reads
        # large numbers otherwise.
        json_deserializer=orjson.loads,
        connect_args={"autocommit": True, **patience},
    )
    if password is not None:

        @event.listens_for(engine, "do_connect")
        def log_in(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:  # pyright: ignore[reportUnusedFunction]
            # Such a password is good at more than one server: it is shown to none whose name is not proved.
            options |= {"password": password(), "sslmode": "verify-full"}
            options.setdefault("sslrootcert", _trusted_authorities())

    return engine


def _trusted_authorities() -> str:
    """Who the rest of the process trusts too: httpx goes by the same. The driver brings a libpq of its own, which finds
    no system's certificates by itself."""
    return os.environ.get("SSL_CERT_FILE") or certifi.where()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # pysqlite's own transaction handling begins too late for BEGIN IMMEDIATE (SQLAlchemy, SQLite dialect).
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # Ids come in no order, so every page of a listing touches most of the index; what was touched goes to the file
        # once for many transactions (a first run takes a tenth less time).
        connection.execute(f"PRAGMA wal_autocheckpoint = {_SQLITE_WAL_PAGES}")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine
