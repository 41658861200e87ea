"""Alembic's environment: runs the migrations over the same engine as the product."""

from __future__ import annotations

from alembic import context

from shared.cache.database import Database
from shared.cache.schema import schema

database = Database(context.config.attributes["database_url"])
with database.write() as connection:
    context.configure(connection=connection, target_metadata=schema, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
database.close()
