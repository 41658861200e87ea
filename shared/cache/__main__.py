"""``python -m shared.cache upgrade``: applies the migrations to the database that DATABASE_URL names.

Whoever runs it logs in as itself: by the URL, or by libpq's own variables such as PGPASSWORD, which takes a token too.
The app's identity is not used; it may not change tables.
"""

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
