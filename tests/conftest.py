"""Fixtures of every test."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> None:
    """Exclude what is in memory now from garbage collection.

    Each repetition collects garbage before it is timed, which takes a third of a second with this whole suite loaded.
    """
    gc.freeze()
