"""What holds for every test."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> None:
    """Take what is in memory out of the collector's sight.

    Each repetition collects garbage before it is timed, which takes a third of a second with this whole suite loaded.
    """
    gc.freeze()
