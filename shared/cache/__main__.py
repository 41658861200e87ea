"""``python -m shared.cache upgrade``: applies the migrations to the database that DATABASE_URL names."""

from __future__ import annotations

import argparse

from shared.cache.migrations import upgrade
from shared.settings import settings


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m shared.cache", description=__doc__)
    parser.add_argument("command", choices=["upgrade"])
    parser.parse_args()
    upgrade(settings().database_url)
    print("The organization cache database is up to date.")


if __name__ == "__main__":
    main()
