"""The database fails in the middle of everything: no run is lost, nothing counts twice, and the reason is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx
import pytest
from sqlalchemy import event

import shared.cache.database
from local.host.invocation import InvocationFailed
from local.tenant import Directory, Options, TenantServer
from shared.cache.database import Database
from tests.application import NAME, Application, running_application
from tests.databases import Databases, connect

SMALL = {"users": 120, "groups": 12, "sites": 8, "seed": 5}
STATES = ("40001", "40P01", "53100", "57014", "08006", "57P01")


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(**SMALL), Options(page_size=20, member_slice=10)) as server:
        yield server


@pytest.fixture
def postgresql(databases: Databases) -> Iterator[str]:
    with databases.fresh("postgresql") as url:
        yield url


@pytest.fixture
def sqlite(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch, url: str, tenant: TenantServer) -> Iterator[Application]:
    # Slices of one page: every one of them takes a lease, gives it back, and can be hit while it does.
    settings = {"GRAPH_PAGE_SIZE": "20", "SLICE_SECONDS": "0.000001"}
    with running_application(monkeypatch, url, tenant, **settings) as application:
        application.register()
        yield application


def get_on(application: Application, run: dict[str, Any], rounds: int = 30) -> dict[str, Any]:
    """Lets time pass, and the planner look after the run, until it is over."""
    for _ in range(rounds):
        run = application.run(run["activityIdentifier"])
        if run["endTime"] is not None:
            break
        application.clock.forward(minutes=6)
        application.plan()
    return run


def plan_in_vain(application: Application, rounds: int) -> None:
    """Lets time pass while the planner itself may fail."""
    for _ in range(rounds):
        application.clock.forward(minutes=6)
        with suppress(InvocationFailed):
            application.plan()
        application.host.drain()


def start_at_last(application: Application) -> dict[str, Any]:
    """Starts a run as a client does that asks again when it is told to."""
    for _ in range(20):
        answer = application.client.post(f"/organizations/{NAME}/sync")
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer.raise_for_status().json()
        assert answer.headers["Retry-After"] == "10"
    pytest.fail("The run could not be started.")


def completed(run: dict[str, Any]) -> dict[str, int]:
    return {part["part"]: part["completed"] for part in run["parts"]}


def assert_nothing_is_lost_or_counted_twice(application: Application, run: dict[str, Any]) -> None:
    assert run["status"] == "Succeeded"
    assert application.compare().differences == []
    undisturbed = get_on(application, application.synchronize(type="Full"))
    assert (undisturbed["status"], completed(undisturbed)) == ("Succeeded", completed(run))
    assert undisturbed["counts"]["countImported"] == run["counts"]["countImported"]


def end_backends(url: str, database: str) -> None:
    with closing(connect(url)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (database,),
        )


def test_connections_that_break_all_the_time_delay_a_run_and_no_more(
    monkeypatch: pytest.MonkeyPatch, postgresql: str, tenant: TenantServer
) -> None:
    with running(monkeypatch, postgresql, tenant) as application:
        over = threading.Event()

        def break_connections() -> None:
            for _ in range(40):
                if over.wait(0.1):
                    return
                end_backends(postgresql, postgresql.rpartition("/")[2])

        run = application.start()
        breaker = threading.Thread(target=break_connections)
        breaker.start()
        try:
            application.host.drain()
        finally:
            over.set()
            breaker.join()
        assert_nothing_is_lost_or_counted_twice(application, get_on(application, run))


def test_statements_that_fail_now_and_then_for_any_reason_delay_a_run_and_no_more(
    monkeypatch: pytest.MonkeyPatch, postgresql: str, tenant: TenantServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with running(monkeypatch, postgresql, tenant) as application:
        with closing(connect(postgresql)) as connection:
            choice = " ".join(f"WHEN {place} THEN '{state}'" for place, state in enumerate(STATES))
            connection.execute("CREATE SEQUENCE trouble")
            trouble = (
                "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE turn bigint; BEGIN"
                " turn := nextval('trouble'); IF turn % 11 = 0 THEN RAISE EXCEPTION 'row %', NEW USING ERRCODE ="
                f" CASE turn / 11 % {len(STATES)} {choice} END; END IF; RETURN NEW; END $$"
            )
            connection.execute(trouble.encode())
            connection.execute(
                "CREATE TRIGGER trouble BEFORE UPDATE ON run_parts FOR EACH ROW EXECUTE FUNCTION trouble()"
            )
            run = start_at_last(application)
            application.host.drain()
            plan_in_vain(application, 3)
            connection.execute("DROP TRIGGER trouble ON run_parts")
        assert_nothing_is_lost_or_counted_twice(application, get_on(application, run))
    text = "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records)
    assert "unavailable (53100" in text
    assert "token=" not in text.lower()
    assert "UPDATE run_parts" not in text


def test_an_outage_of_an_hour_is_told_and_ends_in_resumed_work(
    monkeypatch: pytest.MonkeyPatch, postgresql: str, databases: Databases, tenant: TenantServer
) -> None:
    with running(monkeypatch, postgresql, tenant) as application:
        name = postgresql.rpartition("/")[2]
        server = f"{postgresql.rpartition('/')[0]}/postgres"

        def allow(connections: str) -> None:
            with closing(connect(server)) as connection:
                connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {connections}'.encode())
            end_backends(server, name)

        run = application.start()
        allow("false")
        try:
            application.host.drain()
            plan_in_vain(application, 10)
            answers = [application.client.get(path) for path in (f"/organizations/{NAME}", "/health")]
        finally:
            allow("true")
        assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "10")] * 2
        assert answers[0].json()["error"]["code"] == "serviceNotAvailable"
        assert_nothing_is_lost_or_counted_twice(application, get_on(application, run))


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room_again_however_late(
    monkeypatch: pytest.MonkeyPatch, sqlite: str, tenant: TenantServer
) -> None:
    with running(monkeypatch, sqlite, tenant) as application:
        database = application.services.database

        def fill(connection: Any, _: Any) -> None:
            (used,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {used}")

        event.listen(database.engine, "connect", fill)
        database.engine.dispose()
        run = application.start()
        application.host.drain()
        for _ in range(12):
            application.clock.forward(minutes=5)
            application.plan()
        waiting = application.run(run["activityIdentifier"])
        event.remove(database.engine, "connect", fill)
        database.engine.dispose()

        assert waiting["status"] == "Running"
        errors = {part["error"]["code"]: part["error"]["message"] for part in waiting["parts"] if part["error"]}
        assert errors == {"DatabaseUnavailable": "The cache database is unavailable (SQLITE_FULL OperationalError)."}
        assert_nothing_is_lost_or_counted_twice(application, get_on(application, run))


def test_a_locked_database_is_told_and_the_run_goes_on_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch, sqlite: str, tenant: TenantServer
) -> None:
    other = Database(sqlite)  # as patient as any: it gets its lock although the run is at work
    monkeypatch.setattr(shared.cache.database, "_BUSY_SECONDS", 0.2)
    with running(monkeypatch, sqlite, tenant) as application:
        run = application.start()
        try:
            with other.write():
                refused = application.client.post(f"/organizations/{NAME}/sync")
                application.host.drain()
                plan_in_vain(application, 2)
                seen = application.client.get(f"/organizations/{NAME}/syncState")
        finally:
            other.close()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert refused.json()["error"]["code"] == "serviceNotAvailable"
        assert seen.status_code == httpx.codes.OK
        assert_nothing_is_lost_or_counted_twice(application, get_on(application, run))


def test_a_part_whose_every_statement_fails_fails_visibly_and_the_others_succeed(
    monkeypatch: pytest.MonkeyPatch, postgresql: str, tenant: TenantServer
) -> None:
    with running(monkeypatch, postgresql, tenant) as application:
        with closing(connect(postgresql)) as connection:
            connection.execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'row %', NEW USING ERRCODE = '57014'; END $$"
            )
            connection.execute(
                "CREATE TRIGGER slow BEFORE INSERT ON objects FOR EACH ROW WHEN (NEW.part = 'sites')"
                " EXECUTE FUNCTION slow()"
            )
        run = get_on(application, application.synchronize())
        assert {part["part"] for part in run["parts"] if part["status"] == "Failed"} == {"sites"}
        assert run["error"]["code"] == "DatabaseUnavailable"
        assert "57014" in run["error"]["message"]
