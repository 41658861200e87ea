"""Azurite, Microsoft's emulator of Azure Storage: accounts with queues for tests."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.host.azurite import DEVELOPMENT_STORAGE
from tests.npm import NO_NODE, find_node, install

HERE = Path(__file__).parent
# Of the queue service alone, nothing is kept or told to anybody, and clients may be newer than the emulator.
ARGUMENTS = ("--queuePort", "0", "--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck")

_LISTENS = re.compile(r"successfully listens on http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Azurite:
    """How the emulator's queue service is called."""

    command: tuple[str | Path, ...]

    @contextmanager
    def account(self) -> Iterator[str]:
        """The connection string of an empty storage account, which is gone afterwards."""
        process = subprocess.Popen([*self.command, *ARGUMENTS], stdout=subprocess.PIPE, text=True)
        with process:
            try:
                assert process.stdout
                port = next((found[1] for line in process.stdout if (found := _LISTENS.search(line))), None)
                assert port, "azurite ended before it listened"
                yield DEVELOPMENT_STORAGE.replace(":10001/", f":{port}/")
            finally:
                process.kill()


def find_azurite(cache: Path) -> Azurite | str:
    """The executable that AZURITE names, else the locked package of npm; or why there is neither.

    Args:
        cache: The folder that the package is kept in.
    """
    if named := os.environ.get("AZURITE"):
        return Azurite((named,))
    node = find_node()
    if node is None:
        return f"{NO_NODE}, and AZURITE names no azurite-queue"
    packages = install(node, HERE, cache)
    return Azurite((*node.node, packages / "azurite" / "dist" / "src" / "queue" / "main.js"))
