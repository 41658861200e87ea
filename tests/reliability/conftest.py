"""Gives the tests of reliability what they report their figures by."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Has a line of figures shown at the end of the test session."""
    return lambda line: record_property("figures", line)
