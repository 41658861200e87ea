"""The bare limit: pages fetched by a loop over a socket, and bulk-loaded into the product's table; nothing else.

Nothing is looked up, compared, hashed, counted or resumable. Each page is a transaction, as the product's are.
``python -m benchmarks.bare_limit TENANT_URL TOKEN [DATABASE_URL]`` prints how many users it read and how long it took;
without a database the pages are decoded and dropped.
"""

from __future__ import annotations

import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg
from sqlalchemy import URL, make_url

from shared.cache.tables import objects
from shared.models.parts import CATALOGUE, PartName

_COLUMNS = ", ".join(column.name for column in objects.columns)
_MARKS = ", ".join("?" for _ in objects.columns)


def pages(tenant: str, token: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of the users' delta query."""
    address = urlsplit(tenant)
    link = f"{tenant}/v1.0/users/delta?$select={','.join(CATALOGUE[PartName.USERS].select)}"
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        answers = connection.makefile("rb")
        while True:
            target = link.removeprefix(tenant)
            request = f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(f"{request}Prefer: odata.maxpagesize=999\r\n\r\n".encode())
            assert b" 200 " in answers.readline()
            length = 0
            while (header := answers.readline()) != b"\r\n":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            page = orjson.loads(answers.read(length))
            yield page["value"]
            if "@odata.nextLink" not in page:
                return
            link = page["@odata.nextLink"]


def rows(page: list[dict[str, Any]], now: Any) -> Iterator[tuple[Any, ...]]:
    """The page as rows of ``objects``."""
    for user in page:
        yield (
            1, "users", user["id"], user.get("displayName"), user.get("mail"), user.get("userPrincipalName"), "Member",
            user.get("accountEnabled"), None, None, now, 1, 1, b"", orjson.dumps(user).decode(),
        )  # fmt: skip


def into_sqlite(path: str) -> Callable[[list[dict[str, Any]]], None]:
    """Loads a page by ``executemany``."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    now = datetime.now(UTC).isoformat(" ")

    def load(page: list[dict[str, Any]]) -> None:
        with database:
            database.executemany(f"INSERT INTO objects ({_COLUMNS}) VALUES ({_MARKS})", rows(page, now))

    return load


def into_postgresql(url: str) -> Callable[[list[dict[str, Any]]], None]:
    """Loads a page by COPY."""
    database = psycopg.connect(url)
    now = datetime.now(UTC)

    def load(page: list[dict[str, Any]]) -> None:
        with database.transaction(), database.cursor().copy(f"COPY objects ({_COLUMNS}) FROM STDIN".encode()) as copy:
            for row in rows(page, now):
                copy.write_row(row)

    return load


def into_nothing(page: list[dict[str, Any]]) -> None:
    """Drops a page."""


def into(url: URL) -> Callable[[list[dict[str, Any]]], None]:
    """What loads a page into this database."""
    if url.get_backend_name() == "sqlite":
        return into_sqlite(str(url.database))
    return into_postgresql(url.set(drivername="postgresql").render_as_string(hide_password=False))


def main() -> None:
    tenant, token = sys.argv[1:3]
    load = into(make_url(sys.argv[3])) if len(sys.argv) > 3 else into_nothing
    began = time.perf_counter()
    read = 0
    for page in pages(tenant, token):
        load(page)
        read += len(page)
    print(read, time.perf_counter() - began)


if __name__ == "__main__":
    main()
