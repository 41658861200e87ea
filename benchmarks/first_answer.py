"""A function app's first answer, in a process that does nothing else.

``python -m benchmarks.first_answer APP PATH [MODULE ...]`` loads the app in the directory APP, indexes its functions
and answers GET PATH, all by the local host's code as it serves requests, without the server in front of it. It prints
the answer's status, and which of the modules named were loaded by then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from local.host import FunctionsHost
from local.host.__main__ import load_app

_HOST_JSON = {"extensions": {"http": {"routePrefix": ""}}}


async def answer(directory: Path, path: str) -> int:
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": path, "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    host = FunctionsHost(load_app(directory), host_json=_HOST_JSON, timers=False, port=None)
    await host.asgi_app(scope, receive, send)
    return sent[0]["status"]


def main() -> None:
    status = asyncio.run(answer(Path(sys.argv[1]), sys.argv[2]))
    print(status, *(name for name in sys.argv[3:] if name in sys.modules), flush=True)


if __name__ == "__main__":
    main()
