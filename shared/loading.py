"""Loads modules for good."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def loaded_for_good() -> Generator[None]:
    """Keeps the collector of reference cycles away from the modules that are imported within.

    They live as long as the process, and yet it would go through all of them again and again: while they are loaded
    (30 of 470 ms of a cold start) and ever after (a tenth of a full run, which has msgraph-sdk loaded). Garbage that is
    waiting at this moment is kept too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
