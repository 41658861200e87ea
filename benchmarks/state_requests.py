"""Requests about state: how long the functions take that answer them, and whether other organizations matter.

Measured is the function behind the trigger, from its HttpRequest to its HttpResponse, in a process of its own: routing,
reading the database, the view, JSON. The server in front of it, ours or Azure's, is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from statistics import median, quantiles

from benchmarks.population import add_history, populate
from benchmarks.results import Figure, Plot, Result
from benchmarks.workbench import KINDS, ROOT, TITLES, Workbench
from shared.cache.database import Database
from tests.databases import Kind

_SIZES = (1, 10_000)
_ROUNDS, _WARM_UP, _COUNT = 5, 300, 600
_BOUNDS: dict[Kind, float] = {"sqlite": 1, "postgresql": 2}
_HISTORY = 1_000
_REQUESTS = {"syncState": "GET syncState", "job": "GET job"}

Samples = dict[str, list[float]]


def measure(bench: Workbench) -> list[Result]:
    result = Result(7, "Requests about state, whatever the number of organizations")
    series: dict[str, list[float]] = {f"{size:,} organizations": [] for size in _SIZES}
    with_history: list[str] = []
    for kind in KINDS:
        with ExitStack() as opened:
            urls = {size: opened.enter_context(bench.databases.fresh(kind)) for size in _SIZES}
            for size, url in urls.items():
                _fill(url, size)
            found = _alternately(urls)
            _fill_history(urls[1])
            history = _timings(urls[1])
        for request, title in _REQUESTS.items():
            name = f"{TITLES[kind]}, {title}"
            few, many = (found[size][request] for size in _SIZES)
            for size, samples in zip(_SIZES, (few, many), strict=True):
                result.figures.append(Figure(f"{name}, {size:,} organizations, p50", median(samples), "ms"))
                result.figures.append(
                    Figure(f"{name}, {size:,} organizations, p99", quantiles(samples, n=100)[98], "ms")
                )
                series[f"{size:,} organizations"].append(median(samples))
            result.judge_at_most(f"{name}, {_SIZES[1]:,} organizations: p50", median(many), _BOUNDS[kind], "ms")
            result.judge_at_most(f"{name}: p50 with {_SIZES[1]:,} / with 1", median(many) / median(few), 1.2, "×")
            with_history.append(f"{name} {median(history[request]):.2f} ms")
        for alone in ("query", "transaction"):
            p50 = median(found[_SIZES[1]][alone])
            result.figures.append(Figure(f"{TITLES[kind]}, a {alone} with nothing but SELECT 1, p50", p50, "ms"))
    result.remarks.append(
        "A request is one query outside any transaction: the organization with its job, the runs that the job names or "
        "that are under way, and its parts with their shares of these runs. All rows are found by whole keys."
    )
    result.remarks.append(
        f"With {_HISTORY:,} more finished runs behind the organization, p50 is {'; '.join(with_history)}."
    )
    labels = [f"{TITLES[kind]}, {title}" for kind in KINDS for title in _REQUESTS.values()]
    result.plots.append(Plot("Time in the function, p50", "ms", labels, series))
    return [result]


def _fill(url: str, size: int) -> None:
    database = Database(url)
    populate(database, size)
    database.close()


def _fill_history(url: str) -> None:
    database = Database(url)
    add_history(database, _HISTORY)
    database.close()


def _alternately(urls: dict[int, str]) -> dict[int, Samples]:
    """The milliseconds of each size's requests; in turns, so that a moment in which the machine is slow hits all."""
    found: dict[int, Samples] = {size: defaultdict(list) for size in urls}
    for _ in range(_ROUNDS):
        for size, url in urls.items():
            for request, samples in _timings(url).items():
                found[size][request] += samples
    return found


def _timings(url: str) -> Samples:
    command = [sys.executable, "-m", "benchmarks.state_answers", str(_WARM_UP), str(_COUNT)]
    environment = {**os.environ, "DATABASE_URL": url}
    printed = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(printed)
