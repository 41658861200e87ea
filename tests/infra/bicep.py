"""Reads what the tests compare out of the Bicep files, as text: there is no compiler where the tests run."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"


@cache
def module(name: str) -> str:
    """The text of infra/modules/{name}.bicep."""
    return (INFRA / "modules" / f"{name}.bicep").read_text()


@cache
def main() -> str:
    """The text of infra/main.bicep."""
    return (INFRA / "main.bicep").read_text()


def block(text: str, opening: str) -> list[str]:
    """The lines between the one that ends with this opening and the one that closes it.

    Raises:
        ValueError: There is none.
    """
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.endswith(opening)), None)
    if start is None:
        raise ValueError(f"nothing opens with {opening}")
    indent = re.match(" *", lines[start])
    assert indent
    closing = {"{": "}", "[": "]"}[opening[-1]]
    end = next(number for number in range(start, len(lines)) if lines[number] == indent.group() + closing)
    return [line.strip() for line in lines[start + 1 : end]]


def app_settings() -> dict[str, str]:
    """The app settings that the function app is given: name and expression."""
    nested = block(module("function-app"), "resource appSettings 'config' = {")
    text = "\n".join(nested)
    return dict(re.findall(r"^(\w+): (.+)$", text.partition("properties: {")[2], re.MULTILINE))


def parameters() -> dict[str, str | None]:
    """The parameters of main.bicep: name and default, None for those that must be given."""
    found = re.findall(r"^param (\w+) \w+(?: = (.+))?$", main(), re.MULTILINE)
    return {name: default or None for name, default in found}
