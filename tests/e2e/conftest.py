"""One cache and one set of checkpoints for all end-to-end tests: they are made once."""

from pathlib import Path

import pytest

from tests.support.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small llama checkpoint whose rows have K-quants' length."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-llama"
    return make_checkpoint(folder, hidden=256, ffn=512, heads=4, kv_heads=2, layers=2, vocab=1024)
