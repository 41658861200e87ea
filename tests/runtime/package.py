"""What is deployed: the files that .funcignore leaves, chosen as the deployment tools choose them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from tests.runtime.environment import ROOT


@cache
def _ignored() -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())


def is_deployed(path: str) -> bool:
    """Whether a file at this path, from the project's folder, becomes part of the package."""
    return not _ignored().match_file(path)


def deployed_files() -> list[str]:
    """The paths of the package's files, as they are in the project's folder now."""
    return sorted(_walk(ROOT))


def build_package(folder: Path) -> Path:
    """Copies the package into a folder, which is given back."""
    for path in deployed_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    return folder


def _walk(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        path = entry.relative_to(ROOT).as_posix()
        # As in git, nothing in a folder that is left out can come back in; so it need not be entered.
        if entry.is_dir() and not entry.is_symlink():
            if not _ignored().match_file(f"{path}/"):
                yield from _walk(entry)
        elif is_deployed(path):
            yield path
