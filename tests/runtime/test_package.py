"""The package that is deployed: it holds what it should and nothing else, and needs nothing beside requirements.txt."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

import function_app
from local.host.metadata import read_functions
from tests.runtime.environment import DEPLOYED, ROOT, WORKER, Environment
from tests.runtime.package import deployed_files, is_deployed

pytestmark = pytest.mark.xdist_group("runtime")

SETTINGS = {"SYNC_SCHEDULE": "0 * * * * *"}
# Imports the app as the worker does, and tells what it declares and where all that came with it lies.
IMPORT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import function_app
names = [function.get_function_name() for function in function_app.app.get_functions()]
files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
print(json.dumps({"functions": names, "files": files, "library": json.__file__}))
"""


def test_the_package_is_the_app_its_settings_of_the_host_its_requirements_and_its_code() -> None:
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "shared").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(deployed_files()) == {"function_app.py", "host.json", "requirements.txt"} | sources


@pytest.mark.parametrize(
    "path",
    [
        ".azure/production/.env",
        ".env",
        ".git/config",
        ".github/workflows/deploy.yml",
        ".venv/3.13.0/bin/python",
        "azure.yaml",
        "docs/architecture.md",
        "infra/main.bicep",
        "local.settings.json",
        "local/tenant/__main__.py",
        "organization-cache.db",
        "organization-cache.db-wal",
        "requirements-dev.txt",
        "shared/__pycache__/settings.cpython-313.pyc",
        "shared/cache/__pycache__/tables.cpython-313.pyc",
        "tests/conftest.py",
    ],
)
def test_what_lies_in_a_developers_folder_is_not_deployed(path: str) -> None:
    assert not is_deployed(path)


def test_what_a_local_build_has_installed_is_deployed_with_the_package() -> None:
    assert is_deployed(".python_packages/lib/site-packages/pydantic/__init__.py")


def test_the_environment_has_the_requirements_and_nothing_that_tests_or_the_worker_bring(deployed: Environment) -> None:
    """Else the next test could prove that the app can be imported where something is that Azure lacks."""
    listed = json.loads(run(deployed, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"))
    installed = {_normal(package["name"]) for package in listed}
    assert _named(DEPLOYED) <= installed
    assert installed.isdisjoint({"pytest", "uvicorn", *_named(WORKER)})


def test_the_app_is_imported_from_the_package_and_the_requirements_alone(deployed: Environment, package: Path) -> None:
    told = json.loads(run(deployed, "-I", "-c", IMPORT, package))

    assert sorted(told["functions"], key=str.upper) == [
        function.name for function in read_functions(function_app.app, SETTINGS)
    ]
    places = (package, deployed.python.parent.parent / "lib", Path(told["library"]).parent.parent)
    assert [file for file in told["files"] if not any(Path(file).is_relative_to(place) for place in places)] == []


def test_the_package_brings_its_migrations(deployed: Environment, package: Path, tmp_path: Path) -> None:
    file = tmp_path / "fresh.db"
    run(deployed, "-m", "shared.cache", "upgrade", folder=package, DATABASE_URL=f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM organizations").fetchone() == (0,)


def run(deployed: Environment, *arguments: str | Path, folder: Path | None = None, **settings: str) -> str:
    """What the deployment's Python prints; of the machine's environment it knows the PATH alone."""
    known = {"PATH": os.environ["PATH"], "AUTH_MODE": "none", **settings}
    command = [deployed.python, *arguments]
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _named(requirements: Path) -> set[str]:
    return {_normal(name) for name in re.findall(r"^\w[\w.-]*", requirements.read_text(), re.MULTILINE)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
