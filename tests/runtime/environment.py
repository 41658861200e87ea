"""The environment of a deployment: a Python 3.13 with requirements.txt alone, and the worker's packages beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from tests.locks import one_at_a_time

ROOT = Path(__file__).parent.parent.parent
DEPLOYED, WORKER = ROOT / "requirements.txt", ROOT / "requirements-runtime.txt"
OLDEST = (3, 13)
"""The oldest Python that azure-functions-runtime runs on, and the one that Azure runs the product on."""
INSTALL_TIMEOUT_SECONDS = 600

_PROBE = "import sys, venv, ensurepip; print(*sys.version_info[:3], sep='.')"


@dataclass(frozen=True)
class Interpreter:
    """A Python that the deployment can run on."""

    path: Path
    version: str

    def __str__(self) -> str:
        return f"Python {self.version} ({self.path})"


@dataclass(frozen=True)
class Environment:
    """What is installed.

    Attributes:
        python: Of an environment with requirements.txt and nothing else.
        worker: The folder with what the platform's worker brings: the runtime and protobuf.
    """

    python: Path
    worker: Path


@cache
def find_interpreter() -> Interpreter | str:
    """A Python that is new enough, or why there is none.

    Raises:
        pytest.UsageError: RUNTIME_PYTHON names something else.
    """
    if named := os.environ.get("RUNTIME_PYTHON"):
        version = _version(Path(named))
        if version is None:
            raise pytest.UsageError(f"RUNTIME_PYTHON={named} is no Python {_dotted(OLDEST)} or newer with venv")
        return Interpreter(Path(named), version)
    for candidate in _candidates():
        if version := _version(candidate):
            return Interpreter(candidate, version)
    return (
        f"no Python {_dotted(OLDEST)} or newer was found, which azure-functions-runtime needs; "
        "install one, or name it in RUNTIME_PYTHON"
    )


def environment(interpreter: Interpreter) -> Environment:
    """The environment, made once for each state of the requirements."""
    home = ROOT / ".venv" / f"deployed-{interpreter.version}"
    wanted = sha256(DEPLOYED.read_bytes() + WORKER.read_bytes()).hexdigest()
    made = Environment(home / "bin" / "python", home / "worker")
    stamp = home / ".installed"
    with one_at_a_time(home.parent / f"{home.name}.lock"):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            _run(interpreter.path, "-m", "venv", home)
            # Bytecode is made of what is imported; that of all modules would take as long as the installation.
            install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
            _run(made.python, *install, "--requirement", DEPLOYED)
            # Beside the deployed packages, as in Azure: nothing of the worker's may hide that one is missing.
            _run(made.python, *install, "--no-deps", "--target", made.worker, "--requirement", WORKER)
            stamp.write_text(wanted)
    return made


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    names = [f"python3.{minor}" for minor in range(OLDEST[1], OLDEST[1] + 3)]
    yield from (Path(found) for name in names if (found := shutil.which(name)))
    # pyenv's shims on the PATH run only versions that are switched on.
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from (found for name in names for found in sorted(versions.glob(f"*/bin/{name}")))


def _version(python: Path) -> str | None:
    """The version, if it is new enough and can make environments."""
    try:
        told = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    version = told.stdout.strip()
    return version if told.returncode == 0 and tuple(map(int, version.split("."))) >= OLDEST else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS)
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}"
