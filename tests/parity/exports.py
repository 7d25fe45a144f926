"""Two exports as llama.cpp's own compare script reads them, from a folder that is no git repository.

Results of two made-up builds are exported with different labels, as one file of JSON each and as one file of JSON
Lines. The script must print a row per test, with the speeds of both and their quotient.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from profiler.cli.results import export_text
from profiler.records.environment import Device, Environment
from profiler.results.file import Results
from tests.parity.oracle import Oracle
from tests.support.cells import artifact
from tests.support.compared import rounds_of
from tests.support.rounds import results
from tests.support.summaries import environment

LABELS = ("build-1", "build-2")  # of one length: the script cuts all of them to the shortest
LEVELS = {"Q4_0": 50, "Q8_0": 30}  # decode tokens per second
PREFILL = 400
SLOWER = 0.9  # decode of the second build to that of the first
_SCRIPT_SIDE = ("GitPython", "tabulate")


def compare_exports(oracle: Oracle) -> tuple[bool, dict[str, Any]]:
    """Run the script on both forms; return whether it printed the right numbers."""
    interpreter = oracle.environment("compare-venv", *_SCRIPT_SIDE)
    script = oracle.llama_cpp / "scripts" / "compare-llama-bench.py"
    findings: dict[str, Any] = {}
    passed = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, other = (folder / f"{label}.json" for label in LABELS)
        for path, label, factor in ((one, LABELS[0], 1.0), (other, LABELS[1], SLOWER)):
            path.write_text(export_text(_results(factor), "llama-bench", label))
        both = folder / "both.jsonl"
        both.write_text(
            "".join(
                export_text(_results(factor), "llama-bench-jsonl", label)
                for label, factor in zip(LABELS, (1.0, SLOWER), strict=True)
            )
        )
        for form, inputs in (("json", [one, other]), ("jsonl", [both])):
            command = [str(interpreter), str(script), "--tool", "llama-bench", "-b", LABELS[0], "-c", LABELS[1]]
            command += [part for path in inputs for part in ("-i", str(path))]
            done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
            print(f"compare-llama-bench.py on {form}:\n{done.stdout}{done.stderr[-2000:] if done.returncode else ''}")
            rows = [line for line in done.stdout.splitlines() if "| pp" in line or "| tg" in line]
            ok = done.returncode == 0 and sorted(_quotients(rows)) == sorted([1.0, SLOWER] * len(LEVELS))
            passed &= ok
            findings[form] = {"ok": ok, "rows": rows}
    return passed, findings


def _quotients(rows: list[str]) -> list[float]:
    return [float(row.strip().strip("|").split("|")[-1]) for row in rows]


def _results(factor: float) -> Results:
    device: Environment = environment(devices=(Device(name="CPU", description="Test CPU", kind="cpu"),))
    rounds, files = [], []
    for place, (level, decode_tps) in enumerate(LEVELS.items()):
        files.append(artifact(str(place) * 64, level=level, file_name=f"tiny-{level}.gguf"))
        rounds += rounds_of([decode_tps * factor] * 6, PREFILL, sha256=str(place) * 64, env_id=device.id)
    return results(*rounds, artifacts=files, environments=[device])
