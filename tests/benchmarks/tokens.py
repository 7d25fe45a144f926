"""`make bench-tokens`: what the verification of tokens costs on a vocabulary of 150,000: time, CPU time, peak memory.

The vocabulary is a byte-level BPE with Qwen 2's steps, trained on the standard library's own sources, so its merges
are real ones; the weights are tiny. Each run is a process of its own, and so is the worker that it starts.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from quant.convert.layout import open_layout
from quant.convert.verify.verified import verified_keys

_ROWS, _BASE = 151936, 151643  # of Qwen 2's embedding, and of its base vocabulary
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|tool_{number}|>" for number in range(23)))
_KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1  # of ru_maxrss


def make(folder: Path) -> Path:
    """Write the checkpoint; training takes a minute."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    from tests.support.checkpoints import decoder_config, write_checkpoint
    from tests.support.pre_tokenizers import QWEN_2

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(QWEN_2), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_BASE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=1, show_progress=False
    )
    sources = [path for path in Path(sysconfig.get_path("stdlib")).rglob("*.py") if "site-packages" not in path.parts]
    tokenizer.train_from_iterator((path.read_text(errors="replace") for path in sorted(sources)), trainer)
    tokenizer.add_special_tokens(list(_SPECIAL))
    config = decoder_config("Qwen2ForCausalLM", "qwen2", hidden=64, layers=2, heads=2, kv_heads=1, ffn=64, vocab=_ROWS)
    write_checkpoint(folder, config, tokenizer="none")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def measured_once(checkpoint: Path) -> dict[str, Any]:
    """Verify a checkpoint's tokens, and return what it cost: the worker with the process's own part."""
    layout = open_layout(checkpoint)
    _ = layout.keys  # reading the vocabulary is the conversion's part
    with tempfile.TemporaryDirectory() as scratch:
        start, cpu = time.perf_counter(), time.process_time()
        check = verified_keys(layout, "file", Path(scratch)).check
        wall_s, own_s = time.perf_counter() - start, time.process_time() - cpu
    worker = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "lines": check.n_lines,
        "wall_s": wall_s,
        "cpu_s": own_s + worker.ru_utime + worker.ru_stime,
        "peak_mib": worker.ru_maxrss * _KIB_PER_UNIT / 1024,
    }


def main() -> None:
    """Make the checkpoint on first use, verify it several times, and print medians."""
    parser = argparse.ArgumentParser(prog="make bench-tokens", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work/tokens"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measured_once(arguments.once)))
        return
    checkpoint = arguments.work / "qwen2"
    if not (checkpoint / "tokenizer.json").exists():
        make(checkpoint)
    command = [sys.executable, "-m", "tests.benchmarks.tokens", "--once", str(checkpoint)]
    runs = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(arguments.runs)
    ]
    n_base = len(json.loads((checkpoint / "tokenizer.json").read_bytes())["model"]["vocab"])
    print(f"{n_base} tokens and {len(_SPECIAL)} special ones, {runs[0]['lines']} lines, {len(runs)} runs")
    for name, unit in (("wall_s", "s"), ("cpu_s", "s of CPU time"), ("peak_mib", "MiB at the worker's peak")):
        values = [run[name] for run in runs]
        print(f"{statistics.median(values):8.2f} {unit} [{min(values):.2f}, {max(values):.2f}]")


if __name__ == "__main__":
    main()
