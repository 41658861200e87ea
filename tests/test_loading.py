"""Modules are loaded for good, and the collector is at work again afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest

from shared.loading import loaded_for_good


class Node:
    """Something that can be part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_rests_while_modules_are_loaded_and_leaves_them_alone_afterwards() -> None:
    with loaded_for_good():
        resting = not gc.isenabled()
        kept = weakref.ref(Node())
    gc.collect()
    assert resting
    assert kept() is not None


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_after_is_collected_again_even_when_a_module_cannot_be_loaded(fails: bool) -> None:
    def load() -> None:
        with loaded_for_good():
            if fails:
                raise ImportError

    if fails:
        with pytest.raises(ImportError):
            load()
    else:
        load()
    later = weakref.ref(Node())
    gc.collect()
    assert gc.isenabled()
    assert later() is None
