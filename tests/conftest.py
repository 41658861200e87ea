"""Gives every test what it runs on: databases of its own, on both engines."""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.azurite.account import Azurite, find_azurite
from tests.databases import Databases, Kind, PostgresUnavailableError, describe_server, start_server
from tests.graph.tls import write_certificate
from tests.npm import NO_NODE, find_node
from tests.runtime.environment import find_interpreter

SERVER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    # Nothing that a test starts may reach the developer's own database.
    os.environ.pop("DATABASE_URL", None)
    if hasattr(config, "workerinput") or config.option.collectonly or config.option.help:
        return
    # Read by what makes connections when that is imported, and inherited by pytest-xdist's workers.
    folder = Path(tempfile.mkdtemp())
    config.add_cleanup(lambda: shutil.rmtree(folder))
    os.environ["SSL_CERT_FILE"] = str(folder / "certificate.pem")
    write_certificate(folder / "certificate.pem")
    try:
        if url := os.environ.get("TEST_DATABASE_URL"):
            config.stash[SERVER] = describe_server(url)
            return
        server = start_server()
    except PostgresUnavailableError as error:
        pytest.exit(str(error), returncode=1)
    config.add_cleanup(server.stop)
    config.stash[SERVER] = server.description
    # pytest-xdist's workers inherit the environment, and so share the one server.
    os.environ["TEST_DATABASE_URL"] = server.url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        f"{report.nodeid}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "figures"
    ]
    if told:
        terminalreporter.section("figures")
        for line in told:
            terminalreporter.line(line)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which real parts the tests have, and which they lack."""
    if SERVER not in config.stash:
        return []
    python, node = find_interpreter(), find_node()
    return [
        config.stash[SERVER],
        f"Functions runtime: NOT TESTED, {python}" if isinstance(python, str) else f"Functions runtime: on {python}",
        f"Azurite, Graph's JavaScript client: run by {node}" if node else f"Azurite: NOT TESTED, {NO_NODE}",
    ]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Generator[Databases]:
    databases = Databases(os.environ["TEST_DATABASE_URL"], tmp_path_factory.mktemp("databases"))
    yield databases
    databases.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def database_url(databases: Databases, database_kind: Kind) -> Generator[str]:
    """The URL of a fresh, migrated database; a test that takes it runs once on SQLite and once on PostgreSQL."""
    with databases.fresh(database_kind) as url:
        yield url


@pytest.fixture(scope="session")
def azurite(pytestconfig: pytest.Config) -> Azurite:
    """The emulator of Azure Storage; without Node.js the tests are skipped, and say so."""
    assert pytestconfig.cache
    found = find_azurite(pytestconfig.cache.mkdir("npm"))
    if isinstance(found, str):
        pytest.skip(f"NOT TESTED on Azurite's queues: {found}")
    return found
