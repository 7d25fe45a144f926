"""The pages that parity writes: docs/families.md, family by family, and docs/speed-parity.md, cell by cell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from quant.base.files import write_text
from quant.convert.families import family_of
from tests.families import variants

_HEAD = """# Families, and what they were checked against

Written by `make parity` with llama-cpp-python {pin}, whose source distribution contains llama.cpp's own converter, and
transformers 4.57. Every variant is a small checkpoint with random weights; each is converted to f32, f16, bf16 and
auto.

- **files**: conversions whose tensors (bytes, type, shape, order) and keys (type, value, order) all equal those of
  llama.cpp's converter, of those that it can convert. Powers of e (`ssm_a`) may differ in the
  last bit, as they do between builds of torch. **fails**: conversions at which that converter ends with an
  error.
- **keys of our own**: keys that differ on purpose, since that converter's file would be wrong; the logits prove
  them, and those of the tokenizer the probe of the tokens.
  Those that begin with `slmprof.` say what was found in the tokens, and are not listed.
- **logits**: the largest difference of next-token logits between transformers in float32 and llama.cpp on our F32 file,
  relative to the logits' spread, over all positions, and the number of variants compared. Models with GELU differ more,
  because llama.cpp reads it from a float16 table. Where random layers amplify that beyond the bar, transformers
  computes with llama.cpp's arithmetic (tests/parity/drivers/logits.py), and the plain difference is in brackets. Models
  that transformers knows only through remote code are compared with an equivalent one where there is one.

| GGUF architecture | class in config.json | variants | files | fails | keys of our own | logits | compared |
|---|---|---:|---:|---:|---|---:|---:|
"""


_CLASSES_HEAD = """
## All text classes of llama.cpp's converter

The pinned llama.cpp's converter makes a text model's file of {all} classes in config.json, of {all_archs} GGUF
architectures. Here {done} classes of {archs} architectures convert. `convert` says how to convert the others with that
converter.

| GGUF architecture | converts | does not, and why |
|---|---|---|
"""


_SAVED_HEAD = """
## Tokenizers saved by transformers 5

A checkpoint of each family with the tokenizer that its class in transformers 5.24 saves, trained on the spot, and for
five families one with each sort of post-processor: none, ByteLevel, templates with BOS, EOS, both and another token, a
sequence, RobertaProcessing, BertProcessing. Such a folder has no tokenizer.model. The probe is that of
[the verification](tokens.md), with BOS and EOS and without.

- **ids equal**: lines of the probe for which llama.cpp on our file gives the ids of the tokenizers library; **known**:
  all others, by what llama.cpp cannot express.
- **converter's**: the same for llama.cpp's own converter, run with transformers 5; **fails**: where it cannot
  convert the checkpoint. **keys of our own**: those of the vocabulary that differ from its.

| class | checkpoints | ids equal | known | converter's | fails | keys of our own |
|---|---:|---:|---|---:|---:|---|
"""


_SPEED_HEAD = """# Speed compared with llama-bench

Written by `make parity` with llama-cpp-python {pin} on {cpu}, threads 1 and 2, synthetic weights. Our measuring loop
and llama-bench twice stay loaded and take turns, a repetition each, in a random order; a cell has {n_turns} turns.
**ratio** is ours to one llama-bench (median, 95 % interval), **control** is the other llama-bench to the same one.
llama-bench runs on the libraries of the installed package, with pp{n_prompt} and tg{n_gen}. d is the depth, fa flash
attention, KV the cache's type. A spread is the median absolute deviation of the ratios' logarithms. **Memory** is
`model_rss_bytes` next to the peak of llama-bench's process as GNU time counts it, minus the {bare_mib:.1f} MiB that it
takes without a model, both in MiB.

**Memory layout.** Where llama.cpp's work buffer starts modulo a cache line can move prefill by up to 3 %, see
[how it measures](how-it-measures.md#memory-layout). Left to chance, each program repeats an accident of its own in all
of its processes, and the ratio of two programs contains both; so it was in an earlier version of this page, whose
geometric mean was 0.9815. Here all three have the buffer at the same place: 0, 16, 32 and 48 bytes, a quarter of the
turns each; ours as in every sweep, llama-bench through an `operator new[]` of the test that is loaded before its own
(tests/parity/llama_bench.py). llama-bench as it is installed has one of these layouts, by chance.

| test | geometric mean of the ratios | of the controls |
|---|---:|---:|
{means}

Cells off by more than 2 % whose control is not: {far} of {n_rows}. Median spread {spread:.4f} against the control's
{control_spread:.4f}. Geometric mean of the memory, ours to llama-bench's: {rss_ratio:.3f}.

| model and level | settings | threads | test | ratio | interval | control | spread | control's | memory | bench's |
|---|---|---:|---|---:|---|---:|---:|---:|---:|---:|
"""


def write_speed_table(path: Path, speed: dict[str, Any], cpu: str) -> None:
    """Write the page from the findings of the speed stage."""
    lines = [
        f"| {row['model']} | {row['setting']} | {row['threads']} | {row['test']} | {row['ratio']:.3f} "
        f"| {row['lo']:.3f} to {row['hi']:.3f} | {row['control']:.3f} "
        f"| {row['spread']:.4f} | {row['control_spread']:.4f} "
        f"| {row['rss_mib']:.0f} | {row['bench_rss_mib']:.0f} |"
        for row in speed["rows"]
    ]
    means = [f"| {test} | {mean['ratio']:.4f} | {mean['control']:.4f} |" for test, mean in speed["means"].items()]
    fields = speed | {"means": "\n".join(means), "n_rows": len(lines), "cpu": cpu}
    head = _SPEED_HEAD.format(pin=version("llama-cpp-python"), **fields)
    write_text(path, head + "\n".join(lines) + "\n")


def write_table(path: Path, findings: Mapping[str, Any]) -> None:
    """Write the page from the findings of the stages."""
    families = families_section(findings["files"], findings["logits"])
    saved = saved_section(findings["vocabularies"]["saved"])
    write_text(path, families + classes_section(findings["classes"]) + saved)


def families_section(files: Sequence[dict[str, Any]], logits: Sequence[dict[str, Any]]) -> str:
    """Return the part of the page on what each family was checked against, a row per GGUF architecture."""
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in variants().items():
        architecture = variant.config["architectures"][0]
        row = rows.setdefault(
            family_of(variant.config).arch,
            {
                "classes": set(),
                "variants": 0,
                "equal": 0,
                "done": 0,
                "fails": 0,
                "own": set(),
                "ratios": [],
                "plain": [],
            },
        )
        row["classes"].add(architecture)
        row["variants"] += 1
        row["own"].update(variant.own_keys)
        for finding in (each for each in files if each["variant"] == name):
            row["fails"] += "tensors" not in finding
            row["done"] += "tensors" in finding
            row["equal"] += "tensors" in finding and not finding["differences"]
        for finding in (each for each in logits if each["variant"] == name):
            row["ratios"].append(finding["ratio"])
            if variant.arithmetic:
                row["plain"].append(finding["plain_ratio"])
    lines = []
    for arch, row in sorted(rows.items()):
        classes = ", ".join(sorted(row["classes"]))
        own = ", ".join(f"`{key}`" for key in sorted(row["own"]))
        worst = f"{max(row['ratios']):.1e}" if row["ratios"] else ""
        worst += f" ({max(row['plain']):.1e})" if row["plain"] else ""
        lines.append(
            f"| {arch} | {classes} | {row['variants']} | {row['equal']} of {row['done']} | {row['fails'] or ''} "
            f"| {own} | {worst} | {len(row['ratios']) or ''} |"
        )
    return _HEAD.format(pin=version("llama-cpp-python")) + "\n".join(lines) + "\n"


def classes_section(classes: Sequence[dict[str, str]]) -> str:
    """Return the part of the page on all text classes, a row per GGUF architecture."""
    lines = []
    for arch in sorted({row["arch"] for row in classes}):
        rows = [row for row in classes if row["arch"] == arch]
        done = ", ".join(row["name"] for row in rows if not row["reason"])
        by_reason: dict[str, list[str]] = {}
        for row in rows:
            if row["reason"]:
                by_reason.setdefault(row["reason"], []).append(row["name"])
        left = "; ".join(f"{reason}: {', '.join(names)}" for reason, names in by_reason.items())
        lines.append(f"| {arch} | {done} | {left} |")
    converted = [row for row in classes if not row["reason"]]
    head = _CLASSES_HEAD.format(
        done=len(converted),
        all=len(classes),
        archs=len({row["arch"] for row in converted}),
        all_archs=len({row["arch"] for row in classes}),
    )
    return head + "\n".join(lines) + "\n"


def saved_section(saved: Sequence[dict[str, Any]]) -> str:
    """Return the part of the page on saved tokenizers, a row per class."""
    lines = []
    for name in sorted({row["class"] for row in saved}):
        rows = [row for row in saved if row["class"] == name]
        known = Counter(code for row in rows for code, n in row["known"].items() for _ in range(n))
        done = [row for row in rows if row["theirs"] is not None]
        keys = sorted({f"`{key}`" for row in done for key in row["keys"]})
        lines.append(
            f"| {name} | {len(rows)} | {sum(row['equal'] for row in rows)} of {sum(row['lines'] for row in rows)} "
            f"| {', '.join(f'{code} {n}' for code, n in known.items())} "
            f"| {sum(row['theirs'] for row in done)} of {sum(row['lines'] for row in done)} "
            f"| {len(rows) - len(done) or ''} | {', '.join(keys)} |"
        )
    return _SAVED_HEAD + "\n".join(lines) + "\n"
