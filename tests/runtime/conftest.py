"""Gives the tests the package and the environment that it is deployed to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.environment import Environment, environment, find_interpreter
from tests.runtime.package import build_package


@pytest.fixture(scope="session")
def deployed() -> Environment:
    """The environment; without a Python for it the tests are skipped, and say so."""
    found = find_interpreter()
    if isinstance(found, str):
        pytest.skip(f"NOT TESTED in the genuine Functions runtime: {found}")
    return environment(found)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package made of the project as it is now."""
    return build_package(tmp_path_factory.mktemp("package"))
