"""``make host``: applies the migrations, as a local start may, then runs the local Functions host."""

from __future__ import annotations

import sys
from pathlib import Path

from local.host.__main__ import load_settings, main
from shared.cache.migrations import upgrade
from shared.settings import settings

if __name__ == "__main__":
    load_settings(Path.cwd())
    upgrade(settings().database_url)
    sys.exit(main())
