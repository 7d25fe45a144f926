"""`make parity`: compare slmprof with llama.cpp's own converter and llama-bench, and with transformers.

The source distribution of the pinned llama-cpp-python is fetched from the package registry and contains all of
llama.cpp; torch and transformers go into a virtual environment of their own. Nothing of it enters this project.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.families import variants
from tests.parity.oracle import Oracle

# What is imported for it, and called with the oracle.
_STAGES = {
    "classes": ("classes", "compare_classes"),
    "vocabularies": ("vocabularies", "compare_vocabularies"),
    "files": ("files", "compare_files"),
    "logits": ("logits", "compare_logits"),
    "levels": ("levels", "compare_levels"),
    "quality": ("quality", "compare_quality"),
    "imatrix": ("imatrix", "compare_imatrices"),
    "exports": ("exports", "compare_exports"),
    "pickles": ("pickles", "compare_pickles"),
    "stored": ("stored", "compare_stored"),
    "adapters": ("adapters", "compare_adapters"),
    "real": ("real", "compare_real"),
    "deploy": ("deploy", "compare_deploy"),
    "tasks": ("tasks", "compare_tasks"),
}
STAGES = (*_STAGES, "speed")


def main() -> int:
    """Run the requested stages, print their findings, write them to a file, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make parity", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work"), help="folder for everything that is made")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the environment with torch")
    parser.add_argument("--only", choices=STAGES, action="append", help="run some stages only")
    parser.add_argument("--variants", default="", help="run variants only whose names begin so, like gpt2,phi")
    parser.add_argument(
        "--table", type=Path, help="write the page of families; needs the classes, files, logits and vocabularies"
    )
    parser.add_argument("--speed-table", type=Path, help="write the page of speeds; needs that stage")
    parser.add_argument("--turns", type=int, default=15, help="of a cell of speed, at each of four memory layouts")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--gen", type=int, default=8)
    parser.add_argument("--every-setting", action="store_true", help="24 cells of speed instead of six (long)")
    arguments = parser.parse_args()
    stages = arguments.only or STAGES
    oracle = Oracle(arguments.work.resolve(), arguments.python)
    names = [name for name in variants() if name.startswith(tuple(arguments.variants.split(",")))]
    findings: dict[str, Any] = {}
    passed = True
    for stage, (module, function) in _STAGES.items():
        if stage in stages:
            compare = getattr(importlib.import_module(f"tests.parity.{module}"), function)
            takes_names = stage in ("files", "logits")
            ok, findings[stage] = compare(oracle, names) if takes_names else compare(oracle)
            passed &= ok
    if "speed" in stages:
        from tests.parity.speed import EVERY, SIX, compare_speed

        settings = EVERY if arguments.every_setting else SIX
        ok, findings["speed"] = compare_speed(
            oracle, settings, turns=max(2, arguments.turns), n_prompt=arguments.prompt, n_gen=arguments.gen
        )
        passed &= ok
    if arguments.table and {"classes", "files", "logits", "vocabularies"} <= set(stages):
        from tests.parity.table import write_table

        write_table(arguments.table, findings)
    if arguments.speed_table and "speed" in stages:
        from profiler.device.environment import read_environment
        from profiler.device.llama_build import probe_backend
        from tests.parity.table import write_speed_table

        write_speed_table(arguments.speed_table, findings["speed"], read_environment(probe_backend()).cpu_model)
    (arguments.work / "findings.json").write_text(json.dumps(findings, indent=1))
    print(f"\nparity: {'all bars held' if passed else 'a bar was missed, see above'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
