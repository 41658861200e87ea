"""The long run: random lives and killed workers on both databases, in turn, until the time is up.

``python -m tests.reliability.soak --minutes 30`` prints a line for each turn and the sums at the end. A turn that fails
prints how to repeat it: ``--turn TURN --database DATABASE --seed SEED`` does that one alone.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tests.databases import Databases, Kind, start_server
from tests.reliability.kills import KillFigures, campaign
from tests.reliability.machine import live

KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
TURNS = ("lives", "kills")
LIVES, STEPS = 10, 40
KILLS = 100


class Sums:
    """What all turns came to, for each database."""

    def __init__(self) -> None:
        self.lives: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
        self.kills: dict[Kind, KillFigures] = {kind: KillFigures() for kind in KINDS}

    def take(self, databases: Databases, turn: str, kind: Kind, seed: int) -> str:
        """Does one turn, and returns its figures in words."""
        if turn == "kills":
            figures = campaign(databases, kind, KILLS, seed)
            self.kills[kind] += figures
            return figures.told()
        lived = live(databases, kind, lives=LIVES, steps=STEPS, seed=seed)
        self.lives[kind].update(lived)
        return told(lived)


def told(figures: Counter[str]) -> str:
    """The figures of lives in words."""
    return ", ".join(f"{number} {name}" for name, number in figures.items())


def soak(databases: Databases, minutes: float, seed: int, say: Callable[[str], None]) -> int:
    """Takes turns until the time is up; returns how many of them failed."""
    sums, failures, draw = Sums(), 0, random.Random(seed)
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline:
        for turn in TURNS:
            for kind in KINDS:
                chosen = draw.randrange(2**32)
                try:
                    say(f"{turn} on {kind}, seed {chosen}: {sums.take(databases, turn, kind, chosen)}")
                except Exception:
                    failures += 1
                    traceback.print_exc(file=sys.stdout)
                    say(f"FAILED; repeat with --turn {turn} --database {kind} --seed {chosen}")
    for kind in KINDS:
        say(f"\n{kind}\n  lives: {told(sums.lives[kind])}\n  kills: {sums.kills[kind].told()}")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description="The long run.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--turn", choices=TURNS, help="do this one alone")
    parser.add_argument("--database", choices=KINDS, default="sqlite", help="of the one turn")
    options = parser.parse_args()
    os.environ.pop("DATABASE_URL", None)
    logging.disable(logging.CRITICAL)

    def say(line: str) -> None:
        print(line, flush=True)

    server = start_server()
    try:
        with tempfile.TemporaryDirectory() as directory, closing(Databases(server.url, Path(directory))) as databases:
            say(
                f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Python {platform.python_version()}, "
                f"{server.description}, seed {options.seed}"
            )
            if options.turn:
                say(Sums().take(databases, options.turn, options.database, options.seed))
                return 0
            failures = soak(databases, options.minutes, options.seed, say)
            say(f"{failures} failures" if failures else "no failures")
            return 1 if failures else 0
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
