"""Brings the database's schema up to date; imported only by who does that, never on the way of a request."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config


def configuration(database_url: str) -> Config:
    """Alembic's configuration for this database."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str) -> None:
    """Applies the migrations that the database has not had yet.

    Raises:
        sqlalchemy.exc.OperationalError: The database cannot be reached.
    """
    command.upgrade(configuration(database_url), "head")
