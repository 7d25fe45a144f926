"""Whole texts as people read them, kept in tests/data/golden/. `make golden` rewrites them; review its diff."""

import difflib
import os

from tests.support.paths import ROOT

GOLDEN = ROOT / "tests" / "data" / "golden"
REWRITE = "SLMPROF_REWRITE_GOLDEN"


def check_golden(name: str, text: str) -> None:
    """Compare a text with its golden file; under `make golden`, write the file instead.

    Raises:
        AssertionError: with the difference, and the command that rewrites the file.
    """
    path = GOLDEN / name
    if os.environ.get(REWRITE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != kept:
        difference = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), name, "now", lineterm=""))
        raise AssertionError(f"{name} has changed; if that is meant, run make golden and review its diff\n{difference}")
