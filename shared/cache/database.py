"""The connection to the organization cache database: embedded SQLite or PostgreSQL, by the URL alone."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

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


class Database:
    """Opens connections for reading and for writing. Threads share one instance; the pool stays small because every
    worker process of every instance has one."""

    def __init__(self, url: str) -> None:
        self.engine = _sqlite_engine(url) if make_url(url).get_backend_name() == "sqlite" else _postgresql_engine(url)
        self._writing = self.engine.execution_options(writes=True)
        self._reading = self.engine
        if self.engine.dialect.name == "postgresql":
            # One snapshot for all statements, as SQLite gives: a record is never half of one run, half of the next.
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

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
    with faults.told(connecting=True):
        connection = engine.connect()
    with faults.told(), connection, connection.begin():
        yield connection


def _postgresql_engine(url: str) -> Engine:
    given = make_url(url).query
    return create_engine(
        url,
        pool_size=4,
        max_overflow=8,
        pool_pre_ping=True,
        hide_parameters=True,
        # Nothing is kept as hstore, whose number every process would ask the server for.
        use_native_hstore=False,
        connect_args={name: value for name, value in _PATIENCE.items() if name not in given},
    )


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

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        # A writer takes the lock at once: a reader that becomes a writer half-way fails with "database is locked".
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
