"""The database's own limit: pages that are rendered already, loaded by COPY into the product's table; nothing else.

``python -m benchmarks.copy_limit TENANT_URL TOKEN DATABASE_URL FIRST LAST`` renders the tenant's users as rows of the
organizations with these numbers and everything between, says so, waits for a line, and loads the organizations' pages
in turns, each in a transaction of its own. It prints how many rows that were, and the processor time it used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import make_url

from benchmarks.bare_limit import pages, rows
from shared.cache.tables import objects

_COPY = f"COPY objects ({', '.join(column.name for column in objects.columns)}) FROM STDIN".encode()
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def rendered(page: list[dict[str, Any]], organization: int, now: datetime) -> bytes:
    """The page as COPY takes it."""
    return "".join(_line((organization, *row[1:])) for row in rows(page, now)).encode()


def _line(values: Iterable[Any]) -> str:
    return "\t".join(_field(value) for value in values) + "\n"


def _field(value: Any) -> str:
    match value:
        case None:
            return "\\N"
        case bytes():
            return f"\\\\x{value.hex()}"
        case _:
            return str(value).translate(_ESCAPED)


def main() -> None:
    tenant, token, url, first, last = (
        sys.argv[1],
        sys.argv[2],
        make_url(sys.argv[3]),
        int(sys.argv[4]),
        int(sys.argv[5]),
    )
    now = datetime.now(UTC)
    read = list(pages(tenant, token))
    turns = [[rendered(page, organization, now) for organization in range(first, last + 1)] for page in read]
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.process_time()
        for turn in turns:
            for page in turn:
                with database.transaction(), database.cursor().copy(_COPY) as copy:
                    copy.write(page)
        used = time.process_time() - began
    print(sum(map(len, read)) * (last - first + 1), used, flush=True)


if __name__ == "__main__":
    main()
