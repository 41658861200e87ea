"""Proves that the databases under the other tests are real, fresh and apart."""

import os
from contextlib import closing

import pytest
from sqlalchemy import create_engine, inspect, text

from tests.databases import Databases, Kind, connect


def test_the_postgresql_server_is_a_real_one() -> None:
    with closing(connect(os.environ["TEST_DATABASE_URL"])) as connection:
        row = connection.execute("SELECT version()").fetchone()

    assert row
    assert row[0].startswith("PostgreSQL ")


def test_a_fresh_database_is_migrated(database_url: str, database_kind: Kind) -> None:
    engine = create_engine(database_url)

    assert engine.dialect.name == database_kind
    assert "alembic_version" in inspect(engine).get_table_names()

    engine.dispose()


def test_databases_do_not_see_each_other(databases: Databases, database_kind: Kind) -> None:
    with databases.fresh(database_kind) as one, databases.fresh(database_kind) as other:
        engines = [create_engine(one), create_engine(other)]
        with engines[0].begin() as connection:
            connection.execute(text("CREATE TABLE only_in_one (x INTEGER)"))

        tables = [inspect(engine).get_table_names() for engine in engines]

        for engine in engines:
            engine.dispose()
    assert "only_in_one" in tables[0]
    assert "only_in_one" not in tables[1]


@pytest.mark.parametrize("_", range(2))
def test_a_fresh_database_stays_fresh(database_url: str, _: int) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (x INTEGER)"))
    engine.dispose()
