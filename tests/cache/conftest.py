"""Gives the tests of the cache a fresh one, on both databases."""

from collections.abc import Iterator

import pytest

from shared.models.organizations import Organization
from tests.cache.work import Cache, opened_cache


@pytest.fixture
def cache(database_url: str) -> Iterator[Cache]:
    with opened_cache(database_url) as cache:
        yield cache


@pytest.fixture
def contoso(cache: Cache) -> Organization:
    return cache.register()
