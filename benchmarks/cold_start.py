"""Cold starts: from the start of a process to its first answer about state, beside an app that does nothing.

Both apps go through ``benchmarks.first_answer``: a process starts Python, loads the app, indexes its functions and
answers one request by the local host's code, but without an HTTP server, which would add the same to both and hide the
difference. The clock runs from before the process is started until its answer is read.

There is bytecode of everything; of nothing (PYTHONDONTWRITEBYTECODE, and a PYTHONPYCACHEPREFIX where nothing is); or of
the standard library alone, as where Python was installed and the app with its packages only copied beside it.

Between the two stands ``libraries_app``, which answers about state with the product's libraries and hardly any code:
below its figure no code of the product can get.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.population import populate
from benchmarks.results import Figure, Plot, Result, told
from benchmarks.workbench import KINDS, ROOT, TITLES, Workbench
from shared.cache import organizations
from shared.cache.database import Database
from shared.models.callers import EVERY_ORGANIZATION
from tests.application import NAME
from tests.databases import Kind

_ROUNDS = 7
_BOUND = 2.5
_CACHED, _NONE, _LIBRARY = "with bytecode", "without bytecode", "with the standard library's bytecode alone"
_JUDGED = (_CACHED, _NONE)
_STANDARD = {name.lstrip("_") for name in sys.stdlib_module_names}
_UNWANTED = ("msgraph", "azure.identity", "azure.core", "alembic", "httpx")
_OTHER_DATABASE: dict[Kind, tuple[str, ...]] = {
    "sqlite": ("psycopg", "sqlalchemy.dialects.postgresql"),
    "postgresql": ("sqlite3", "sqlalchemy.dialects.sqlite"),
}

Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class _App:
    """An app, what it is asked for, and the modules that it must not need for the answer."""

    title: str
    directory: Path
    path: str
    database_url: str = ""
    unwanted: tuple[str, ...] = ()


_BARE = _App("bare app", ROOT / "benchmarks" / "bare_app", "/hello")


def measure(bench: Workbench) -> list[Result]:
    result = Result(6, "A cold start against an app that does nothing")
    taken: dict[tuple[_App, str], list[float]] = defaultdict(list)
    unwanted: set[str] = set()
    with ExitStack() as opened:
        urls: dict[Kind, str] = {kind: opened.enter_context(bench.databases.fresh(kind)) for kind in KINDS}
        products = [app for kind, url in urls.items() for app in _products(kind, url)]
        libraries = [_libraries(kind, url) for kind, url in urls.items()]
        apps = (_BARE, *libraries, *products)
        states = _bytecode(bench.directory, apps)
        # In turns, so that a moment in which the machine is slow hits all.
        for _ in range(_ROUNDS):
            for state, environment in states.items():
                for app in apps:
                    milliseconds, loaded = _first_answer(app, environment)
                    taken[app, state].append(milliseconds)
                    unwanted.update(loaded)
        shares = _shares_of_imports(products[0], states[_CACHED])
    for state in states:
        bare = median(taken[_BARE, state])
        result.figures.append(Figure(f"{_BARE.title}, {state}", bare, "ms"))
        for app in (*libraries, *products):
            found = median(taken[app, state])
            result.figures.append(Figure(f"{app.title}, {state}", found, "ms"))
            if state in _JUDGED and app in products:
                result.judge_at_most(f"{app.title} / {_BARE.title}, {state}", found / bare, _BOUND, "×")
    result.judge_at_most(f"modules loaded of {', '.join(_UNWANTED)} and of the database not used", len(unwanted), 0, "")
    result.remarks.append(f"Where the time of the product's imports goes with bytecode, on SQLite: {shares}.")
    ratios = ", ".join(told(median(taken[app, _LIBRARY]) / median(taken[_BARE, _LIBRARY])) for app in products)
    result.remarks.append(f"{_LIBRARY.capitalize()} the product takes {ratios} times as long as the bare app.")
    result.remarks += [_told_of_libraries(libraries, taken, state) for state in _JUDGED]
    labels = [app.title for app in apps]
    series = {state: [median(taken[app, state]) for app in apps] for state in states}
    result.plots.append(Plot("From the start of a process to its first answer", "ms", labels, series))
    return [result]


def _told_of_libraries(libraries: Iterable[_App], taken: Mapping[tuple[_App, str], Sequence[float]], state: str) -> str:
    bare = median(taken[_BARE, state])
    ratios = ", ".join(f"{told(median(taken[app, state]) / bare)} × ({app.title})" for app in libraries)
    return f"What the libraries take alone, {state}, no code of the product can save: {ratios}."


def _libraries(kind: Kind, url: str) -> _App:
    """An app that answers with the product's libraries, on the database of ``_products``."""
    path = f"/organizations/{NAME}/syncState"
    return _App(f"{TITLES[kind]}, its libraries alone", ROOT / "benchmarks" / "libraries_app", path, url)


def _products(kind: Kind, url: str) -> list[_App]:
    """The product on a database with one organization, asked for its state in both words."""
    database = Database(url)
    populate(database, 1)
    with database.read() as connection:
        entity = organizations.list_all(connection, EVERY_ORGANIZATION)[0].entity
    database.close()
    paths = {
        "syncState": f"/organizations/{entity.name}/syncState",
        "job": f"/v1.0/applications/{entity.application.object_id}/synchronization/jobs/{entity.job_id}",
    }
    unwanted = (*_UNWANTED, *_OTHER_DATABASE[kind])
    return [_App(f"{TITLES[kind]}, GET {name}", ROOT, path, url, unwanted) for name, path in paths.items()]


def _bytecode(directory: Path, apps: Iterable[_App]) -> dict[str, Environment]:
    """The environments in which Python finds which bytecode; everything is cached by running the apps once."""
    everything, library, nothing = (directory / name for name in ("everything", "library", "nothing"))
    for app in apps:
        _first_answer(app, {"PYTHONPYCACHEPREFIX": str(everything)})
    shutil.copytree(everything, library)
    for folder in (ROOT, Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))):
        shutil.rmtree(library / folder.relative_to(folder.anchor), ignore_errors=True)
    found = {_CACHED: everything, _NONE: nothing, _LIBRARY: library}
    return {state: {"PYTHONPYCACHEPREFIX": str(path), "PYTHONDONTWRITEBYTECODE": "1"} for state, path in found.items()}


def _first_answer(app: _App, bytecode: Environment) -> tuple[float, list[str]]:
    """The milliseconds that the first answer took, and which unwanted modules were loaded by then."""
    began = time.perf_counter()
    with subprocess.Popen(
        _command(app), cwd=ROOT, env=_environment(app, bytecode), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        status, *loaded = process.stdout.readline().split()
        milliseconds = (time.perf_counter() - began) * 1000
    assert status == "200", status
    return milliseconds, loaded


def _shares_of_imports(app: _App, bytecode: Environment) -> str:
    """How much of the time in imports each of the largest packages takes, without what it imports in turn."""
    printed = subprocess.run(
        _command(app, "-X", "importtime"),
        cwd=ROOT,
        env=_environment(app, bytecode),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    taken: Counter[str] = Counter()
    for line in printed.splitlines():
        microseconds, _, name = line.removeprefix("import time:").split("|")
        if microseconds.strip().isdecimal():
            taken[_package(name.strip())] += int(microseconds)
    return ", ".join(f"{name} {time / taken.total():.0%}" for name, time in taken.most_common(6))


def _package(module: str) -> str:
    """The package as people know it that a module belongs to."""
    top = module.partition(".")[0]
    return "the standard library" if top.lstrip("_") in _STANDARD else top


def _command(app: _App, *options: str) -> list[str]:
    return [sys.executable, *options, "-m", "benchmarks.first_answer", str(app.directory), app.path, *app.unwanted]


def _environment(app: _App, bytecode: Environment) -> Environment:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**inherited, "SYNC_SCHEDULE": "0 0 0 1 1 *", "DATABASE_URL": app.database_url, **bytecode}
