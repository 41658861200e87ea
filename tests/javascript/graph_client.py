"""Microsoft Graph's JavaScript client, run by Node.js."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import orjson

from tests.javascript.front import Front
from tests.npm import Node

HERE = Path(__file__).parent


class GraphClient:
    """A running client: what its ``api(path).get()`` and ``.post()`` give."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def get(self, path: str) -> Any:
        return self._call(method="get", path=path)["value"]

    def post(self, path: str, body: object = None) -> Any:
        return self._call(method="post", path=path, body=body).get("value")

    def error(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What the GraphError says with which the call ends."""
        return self._call(method=method, path=path, body=body)["error"]

    def _call(self, **call: object) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(orjson.dumps(call) + b"\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, "the client ended; what it said is in the captured output"
        return orjson.loads(told)


@contextmanager
def javascript_client(node: Node, packages: Path, front: Front, token: str) -> Iterator[GraphClient]:
    """A client of the front that shows this token and takes the front's certificate for a good one."""
    process = subprocess.Popen(
        [*node.node, HERE / "client.cjs", front.url, token],
        env={**os.environ, "NODE_PATH": str(packages), "NODE_EXTRA_CA_CERTS": str(front.certificate)},
        stdin=PIPE,
        stdout=PIPE,
    )
    with process:
        yield GraphClient(process)
