"""What a database in trouble means: told apart by what helps, without a word of its rows, and never applied twice."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, make_url, select, text, update

from shared.cache import database as database_module
from shared.cache import pages, slices, waiting_parts
from shared.cache import tables as t
from shared.cache.database import Database
from shared.models.errors import (
    DatabaseBlocked,
    DatabaseConflict,
    DatabaseFailure,
    DatabaseUnavailable,
    SynchronizationFailure,
)
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.records import Page
from shared.models.runs import Counts
from shared.models.slices import SliceMessage
from tests.cache.work import LEASE, NOW, REQUEUE, RETRY, Cache, live, opened_cache
from tests.databases import Databases, connect


def fail_with(connection: Connection, state: str) -> None:
    """Has PostgreSQL end the transaction with an error of this SQLSTATE that quotes something confidential."""
    connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'confidential' USING ERRCODE = '{state}'; END $$")


def end_backends(url: str) -> None:
    with closing(connect(url)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def failure_in(cache: Cache, body: Any) -> DatabaseFailure:
    with pytest.raises(DatabaseFailure) as failed:
        cache.write(body)
    return failed.value


@pytest.fixture
def postgresql(databases: Databases) -> Iterator[str]:
    with databases.fresh("postgresql") as url:
        yield url


@pytest.fixture
def sqlite(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another process holds SQLite's lock for writers."""
    other = Database(url)
    try:
        with other.write():
            yield
    finally:
        other.close()


# --- What is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", DatabaseConflict),
        ("40P01", DatabaseConflict),
        ("25006", DatabaseBlocked),
        ("53100", DatabaseBlocked),
        ("53300", DatabaseBlocked),
        ("55P03", DatabaseBlocked),
        ("57P01", DatabaseBlocked),
        ("08006", DatabaseUnavailable),
        ("53200", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("58030", DatabaseUnavailable),
        ("23514", DatabaseFailure),
        ("42P01", DatabaseFailure),
        ("XX000", DatabaseFailure),
    ],
)
def test_postgresqls_errors_are_told_apart_by_what_helps_and_not_repeated(
    postgresql: str, state: str, kind: type[DatabaseFailure]
) -> None:
    with opened_cache(postgresql) as cache:
        failure = failure_in(cache, lambda c: fail_with(c, state))
    assert type(failure) is kind
    assert state in failure.message
    assert "confidential" not in "".join(traceback.format_exception(failure))


def test_a_row_that_breaks_a_constraint_is_not_quoted(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    impossible = update(t.run_parts).values(stage="cleanup", delta_link=None, cursor="confidential")
    failure = failure_in(cache, lambda c: c.execute(impossible))
    assert type(failure) is DatabaseFailure
    assert "confidential" not in "".join(traceback.format_exception(failure))
    assert cache.apply(work, live("a")).imported == 1


def test_what_is_no_error_of_the_database_leaves_as_it_is(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.write(lambda c: 1 / 0)


def test_a_server_that_is_not_there_blocks_everybody(postgresql: str) -> None:
    nowhere = make_url(postgresql).set(port=1).render_as_string(hide_password=False)
    with opened_cache(nowhere) as cache:
        assert isinstance(failure_in(cache, lambda c: None), DatabaseBlocked)


def test_a_file_that_cannot_be_opened_blocks_everybody(tmp_path: Path) -> None:
    with opened_cache(f"sqlite:///{tmp_path}/missing/cache.db") as cache:
        assert isinstance(failure_in(cache, lambda c: None), DatabaseBlocked)


def test_a_database_that_can_only_be_read_blocks_writers_and_no_readers(sqlite: str) -> None:
    file = make_url(sqlite).database
    with opened_cache(f"sqlite:///file:{file}?mode=ro&uri=true") as cache:
        failure = failure_in(cache, lambda c: c.execute(update(t.organizations).values(change_number=1)))
        assert isinstance(failure, DatabaseBlocked)
        assert "READONLY" in failure.message
        assert cache.read(lambda c: c.execute(select(func.count()).select_from(t.organizations)).scalar_one()) == 0


def test_a_locked_database_blocks_for_as_long_as_it_is_locked(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.05)
    with opened_cache(sqlite) as cache:
        with locked(sqlite):
            failure = failure_in(cache, lambda c: None)
        assert isinstance(failure, DatabaseBlocked)
        assert "SQLITE_BUSY" in failure.message
        assert cache.register().key == 1


# --- In the middle of a page ------------------------------------------------------------------------------------------


def apply_page(cache: Cache, work: Any, number: int, size: int) -> Counts:
    records = [live(f"user-{index}", displayName="x" * size) for index in range(number)]

    def body(connection: Connection) -> Counts:
        counts = pages.apply_page(connection, work, Page(records, "https://graph/next", None), NOW, RETRY)
        slices.advance(connection, replace(work, cursor="https://graph/next"), counts, NOW, LEASE)
        return counts

    return cache.write(body)


def test_a_full_disk_in_the_middle_of_a_page_blocks_and_nothing_of_the_page_is_kept(sqlite: str) -> None:
    with opened_cache(sqlite) as cache:
        work = cache.begin(cache.register())

        def limit(pages_more: int) -> None:
            with cache.database.read() as connection:
                used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {used + pages_more}")

        limit(5)
        with pytest.raises(DatabaseBlocked, match="SQLITE_FULL"):
            apply_page(cache, work, 100, 5_000)
        assert cache.objects(work.organization) == {}
        limit(10_000)
        assert apply_page(cache, work, 100, 5_000).imported == 100


def test_a_connection_that_breaks_in_the_middle_of_a_page_is_replaced_and_the_page_comes_whole(postgresql: str) -> None:
    with opened_cache(postgresql) as cache:
        work = cache.begin(cache.register())

        def body(connection: Connection) -> None:
            pages.apply_page(connection, work, Page([live("a")], None, None), NOW, RETRY)
            end_backends(postgresql)
            pages.apply_page(connection, work, Page([live("b")], None, None), NOW, RETRY)

        assert isinstance(failure_in(cache, body), DatabaseUnavailable)
        assert cache.objects(work.organization) == {}
        assert apply_page(cache, work, 2, 10).imported == 2


@pytest.mark.parametrize("use", ["rows", "read", "write"])
def test_connections_that_broke_while_they_lay_idle_are_replaced_and_nobody_notices(postgresql: str, use: str) -> None:
    with opened_cache(postgresql) as cache:
        contoso = cache.register()
        with cache.database.read(), cache.database.read(), cache.database.write():
            pass
        end_backends(postgresql)
        number = select(t.organizations.c.organization_id)
        if use == "rows":
            found = [row.organization_id for row in cache.database.rows(number, {})]
        else:
            found = getattr(cache, use)(lambda connection: connection.execute(number).scalars().all())
        assert found == [contoso.key]


def test_an_error_while_rows_are_copied_is_not_quoted(postgresql: str) -> None:
    with opened_cache(postgresql) as cache:
        work = cache.begin(cache.register())
        with closing(connect(postgresql)) as connection:
            connection.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'disk full: %', NEW.payload USING ERRCODE = '53100'; END $$"
            )
            connection.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON objects FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
        with pytest.raises(DatabaseBlocked) as failed:
            apply_page(cache, work, 3, 10)
        assert "xxxxx" not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("commits", [False, True], ids=["commit lost", "answer lost"])
def test_a_connection_that_breaks_at_the_commit_counts_no_page_twice(
    postgresql: str, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    with opened_cache(postgresql) as cache:
        (message,) = cache.queue(cache.register(), PartName.USERS)
        work = cache.take(message)
        assert work is not None

        def break_connection(connection: Any) -> None:
            if commits:
                connection.commit()
            end_backends(postgresql)
            connection.execute("SELECT 1")

        with monkeypatch.context() as patched:
            patched.setattr(cache.database.engine.dialect, "do_commit", break_connection)
            with pytest.raises(DatabaseUnavailable):
                apply_page(cache, work, 10, 10)

        # The slice ends; whoever comes next goes on from what the database says.
        again = cache.take(message, NOW + 2 * LEASE)
        assert again is not None
        assert again.cursor == ("https://graph/next" if commits else None)
        if again.cursor is None:
            apply_page(cache, again, 10, 10)
        imported = cache.read(lambda c: c.execute(select(t.run_parts.c.imported)).scalar_one())
        assert (imported, cache.entries(work.organization)) == (10, 10)


# --- Again in place ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_that_was_taken_back_for_another_is_begun_again_and_counts_once(
    postgresql: str, state: str
) -> None:
    with opened_cache(postgresql) as cache:
        work = cache.begin(cache.register())
        failures = [state, state]

        def body(connection: Connection) -> Counts:
            counts = pages.apply_page(connection, work, Page([live("a")], None, None), NOW, RETRY)
            slices.advance(connection, work, counts, NOW, LEASE)
            if failures:
                fail_with(connection, failures.pop())
            return counts

        assert cache.database.transact(body).imported == 1
        assert cache.read(lambda c: c.execute(select(t.run_parts.c.imported)).scalar_one()) == 1


@pytest.mark.parametrize(("state", "runs"), [("40001", 3), ("40003", 1), ("08006", 1), ("53100", 1), ("23514", 1)])
def test_only_what_is_certainly_taken_back_is_begun_again_and_not_for_ever(
    postgresql: str, state: str, runs: int
) -> None:
    with opened_cache(postgresql) as cache:
        begun: list[str] = []

        def body(connection: Connection) -> None:
            begun.append(state)
            fail_with(connection, state)

        with pytest.raises(SynchronizationFailure):
            cache.database.transact(body)
        assert len(begun) == runs


def test_two_that_wait_for_each_other_both_come_through(postgresql: str) -> None:
    with opened_cache(postgresql) as cache:
        first, second = cache.register(1).key, cache.register(2).key
        both_hold_one = threading.Barrier(2)
        met: set[int] = set()

        def add_one(key: int, connection: Connection) -> None:
            row = t.organizations.c
            statement = update(t.organizations).where(row.organization_id == key)
            connection.execute(statement.values(change_number=row.change_number + 1))

        def cross(own: int, other: int) -> None:
            def body(connection: Connection) -> None:
                connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                add_one(own, connection)
                if own not in met:
                    met.add(own)
                    both_hold_one.wait(10)
                add_one(other, connection)

            cache.database.transact(body)

        workers = [threading.Thread(target=cross, args=ends) for ends in ((first, second), (second, first))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
        numbers = select(t.organizations.c.change_number)
        assert cache.read(lambda c: c.execute(numbers).scalars().all()) == [2, 2]


def test_the_planner_wakes_what_it_can_beside_a_transaction_that_works_on_a_part(postgresql: str) -> None:
    with opened_cache(postgresql) as cache, ThreadPoolExecutor(1) as thread:
        organization = cache.register()
        users, groups = cache.queue(organization, PartName.USERS, PartName.GROUPS)
        work = cache.take(users)
        assert work
        later = NOW + timedelta(hours=1)

        def wake() -> list[SliceMessage]:
            return cache.write(lambda c: waiting_parts.wake(c, organization.key, later, REQUEUE))

        with cache.database.write() as connection:
            slices.advance(connection, work, Counts(), NOW, LEASE)
            # It neither waits for this transaction nor holds what this one may want next.
            assert thread.submit(wake).result(timeout=10) == [groups]
        assert [message.part for message in wake()] == [PartName.USERS]
