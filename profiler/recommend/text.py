"""A recommendation as text: the choice and its reason, then the figures of its competitors; and as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.recommend.limits import limits_text
from profiler.recommend.reasons import bar_in_words, kld_text, weights_text
from profiler.recommend.records import Candidate, Choice, Prefer, Recommendation
from profiler.recommend.rule import goal_of
from profiler.records.environment import Environment
from profiler.records.span import Span
from profiler.tables.format import aligned, clean, device_line, figure_with_range, listed, load_in_words, synthetic_note
from quant.base.text import counted, pretty_json, printable
from quant.base.units import format_bytes, format_params

_MOST_ROWS = 6  # of each kind


def render(
    recommendation: Recommendation, environments: Mapping[str, Environment], written: Sequence[Path] = ()
) -> str:
    """Return all choices, each with its reason, its competitors and the commands that run and re-measure it.

    `written` are the folders of files that run the choices.
    """
    blocks = ["\n".join([_criteria(recommendation), *recommendation.notes])]
    for choice in recommendation.choices:
        blocks.append(_block(choice, environments.get(choice.env_id)))
    if not recommendation.choices:
        blocks.append("no cells are measured yet")
    if written:
        blocks.append(
            f"llama-cli, Ollama, a models file, Python: {', '.join(printable(str(each)) for each in written)}"
        )
    elif any(choice.deploy for choice in recommendation.choices):
        blocks.append("for llama-cli, Ollama, a models file and Python: add -o DIR, which writes DIR/deploy/")
    return "\n\n".join(blocks) + "\n"


def _criteria(recommendation: Recommendation) -> str:
    limits, prefer = recommendation.limits, recommendation.prefer
    text = limits_text(limits) or "none; set one like --max-memory 1GiB"
    if isinstance(prefer, Prefer):
        order = f"weights {weights_text(prefer)}"
    elif goal_of(limits) == "quality":
        order = "quality, then speed, then memory"
    else:
        order = f"speed, of cells {bar_in_words(True, True)}" if limits.max_kld is None else "speed"
    context = f"; memory at --n-ctx {limits.n_ctx}" if limits.n_ctx else ""
    flagged = "; flagged cells count as measured" if recommendation.flagged else ""
    return f"limits: {text}; order: {order}{context}{flagged}"


def _block(choice: Choice, environment: Environment | None) -> str:
    lines = [f"## {_title(choice)}", ""]
    if environment is not None:
        lines += [device_line(environment), ""]
    if choice.chosen is not None:
        lines.append(f"**{choice.chosen.name}**: {choice.reason}.")
        lines += [f"{line[0].upper()}{line[1:]}." for line in choice.disturbed]
        if choice.chosen.flags and choice.chosen.reaches is None:
            lines.append(f"It is flagged {', '.join(choice.chosen.flags)}: see slmprof show.")
    else:
        lines.append(f"No choice: {choice.reason}.")
        if choice.relax is not None:
            lines.append(f"{choice.relax.text[0].upper()}{choice.relax.text[1:]}.")
    if rows := _rows(choice):
        lines += ["", *aligned(rows)]
    if notes := _notes(choice):
        lines += ["", *(f"- {note}" for note in notes)]
    lines += ["", f"run it: {choice.deploy.llama_server}"] if choice.deploy else []
    if choice.command:
        lines += ["", f"re-measure it: {choice.command}"]
    return "\n".join(lines)


def _title(choice: Choice) -> str:
    size = format_params(choice.n_params, choice.n_params_active) + synthetic_note(choice.weights, choice.standin_for)
    gpu = "" if choice.device == "cpu" else f" on {clean(choice.device)}"
    model = f"{clean(choice.model)} ({size})"
    return f"{model}, {clean(choice.workload)}{gpu}: {load_in_words(choice)}"


def _rows(choice: Choice) -> list[list[str]]:
    others = [each.candidate for each in choice.runners_up[:_MOST_ROWS]]
    near = [each.candidate for each in choice.near_misses[:_MOST_ROWS]]
    kinds = [("choice", [choice.chosen] if choice.chosen else []), ("met", others), ("not met", near)]
    everyone = [(word, each) for word, group in kinds for each in group]
    if not everyone:
        return []
    with_ttft = any(each.ttft_ms for _, each in everyone)
    with_kld = any(each.kld is not None for _, each in everyone)
    with_flags = any(each.flags for _, each in everyone)
    head = ["cell", "bpw", "decode t/s", "prefill t/s", *(["TTFT ms"] if with_ttft else []), "memory"]
    head += [*(["KLD"] if with_kld else []), *(["flags"] if with_flags else []), "limits"]
    rows = [head]
    for word, each in everyone:
        row = [each.name, f"{each.bpw:.2f}", figure_with_range(each.decode_tps), figure_with_range(each.prefill_tps)]
        row += [figure_with_range(each.ttft_ms)] if with_ttft else []
        row.append(_memory(each))
        row += [kld_text(each) if each.kld is not None else ""] if with_kld else []
        row += [", ".join(each.flags)] if with_flags else []
        rows.append([*row, word])
    return rows


def _memory(each: Candidate) -> str:
    if each.memory_bytes is None:
        return ""
    return f"{'~' if each.memory_estimated else ''}{format_bytes(each.memory_bytes.hi)}"


def _notes(choice: Choice) -> list[str]:
    shown = [each.candidate for each in choice.runners_up] + [each.candidate for each in choice.near_misses]
    shown += [choice.chosen] if choice.chosen else []
    notes = [f"{each.candidate.name} also fits: {each.text}" for each in choice.runners_up[:_MOST_ROWS]]
    notes += [each.text for each in choice.near_misses[:_MOST_ROWS]]
    notes += _more(len(choice.runners_up) - _MOST_ROWS, "also fit")
    notes += _more(len(choice.near_misses) - _MOST_ROWS, "do not meet the limits")
    if choice.tied:
        notes.append(f"tied with the choice in speed: {listed(choice.tied, _MOST_ROWS + 1)}")
    notes += [f"not considered: {each.name}, {each.why}" for each in choice.left_out[:_MOST_ROWS]]
    notes += _more(len(choice.left_out) - _MOST_ROWS, "not considered", "cell")
    if shown:
        notes.append(
            "memory: peak of the largest round, without the process's own; the whole interval must meet a limit"
        )
    if shown and choice.sustain_s:
        notes.append("speeds are those of the steady state, at the end of the sustained load")
    if shown and choice.device != "cpu":
        notes.append("GPU memory is not included, so a memory limit means little here")
    if any(each.rounds < INTERVAL_ROUNDS for each in shown):
        noun = "minute" if choice.sustain_s else "round"
        notes.append(
            f"below six {noun}s there is no interval: the smallest and largest {noun} are used, which is less certain"
        )
    if any(each.memory_estimated for each in shown):
        notes.append(
            "~ measured at another context: the KV cache is scaled, the compute buffer's growth is not included"
        )
    return notes


def _more(count: int, what: str, noun: str = "file") -> list[str]:
    return [f"{counted(count, f'more {noun}')} {what}"] if count > 0 else []


def to_json(recommendation: Recommendation) -> str:
    """Return the JSON that `records` describes."""
    return pretty_json(_plain(recommendation)) + "\n"


def _plain(value: object) -> object:
    """Return a record as plain objects; of a Span its figures."""
    if isinstance(value, Span):
        return {"middle": float(value.value), "lo": float(value.lo), "hi": float(value.hi)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
