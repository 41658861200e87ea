"""Tells whom this process connects to, by the interpreter's own audit events."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_listening: list[set[str]] = []
_installed: list[bool] = []


@contextmanager
def connections() -> Iterator[set[str]]:
    """The hosts and ports that are connected to, and the names that are looked up, within the block."""
    if not _installed:
        # A hook stays for good; it listens within the blocks alone.
        sys.addaudithook(_hear)
        _installed.append(True)
    heard: set[str] = set()
    _listening.append(heard)
    try:
        yield heard
    finally:
        _listening.remove(heard)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _listening:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        told = f"{arguments[1][0]}:{arguments[1][1]}"
    elif event == "socket.getaddrinfo":
        told = f"{arguments[0]}:{arguments[1]}"
    else:
        return
    for heard in _listening:
        heard.add(told)
