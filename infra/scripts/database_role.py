"""Gives the app's identity its role in PostgreSQL; hooks/postprovision.sh runs it as the server's administrator.

The connection is libpq's own: PGHOST, PGUSER, PGPASSWORD and so on.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

import psycopg
from psycopg import Connection, sql

MAINTENANCE_DATABASE = "postgres"
"""Where the server keeps its functions for Entra's principals."""


def create(connection: Connection, role: str, object_id: str) -> None:
    """Lets the identity log in under this name, by its tokens alone; does nothing where it can already.

    Args:
        connection: To the maintenance database.
        role: The role's name, by which the identity logs in.
        object_id: The identity's object (principal) id.
    """
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        return
    connection.execute(
        "SELECT * FROM pgaadauth_create_principal_with_oid(%s, %s, 'service', false, false)", [role, object_id]
    )


def grant(connection: Connection, role: str) -> None:
    """Permits what the app does with its tables, reading and writing rows: it changes no table, and migrates nothing.

    Args:
        connection: To the app's database, after its migrations.
        role: The role's name.
    """
    statements = (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "REVOKE ALL ON TABLE alembic_version FROM {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    )
    with connection.transaction():
        for statement in statements:
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    creating = commands.add_parser("create", help="let the identity log in")
    creating.add_argument("role")
    creating.add_argument("object_id")
    granting = commands.add_parser("grant", help="let it read and write the app's rows")
    granting.add_argument("role")
    given = parser.parse_args()
    try:
        if given.command == "create":
            with closing(psycopg.connect(dbname=MAINTENANCE_DATABASE, autocommit=True)) as connection:
                create(connection, given.role, given.object_id)
        else:
            with closing(psycopg.connect(autocommit=True)) as connection:
                grant(connection, given.role)
    except psycopg.Error as error:
        # What it says is of the server and the role; the password is never part of it.
        print(f"database_role: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
