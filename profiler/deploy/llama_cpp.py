"""llama.cpp's own programs: the flags that both take, and a preset for llama-server's models file.

Source: common/arg.cpp, common/preset.cpp and tools/server/README.md of the pinned llama.cpp. `make parity` holds each
flag against the help of the programs.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from profiler.deploy.about import about, commented
from profiler.deploy.records import Plan
from quant.gguf_io.shards import stem_of

PINNED = "llama-cpp-python 0.3.36"  # whose llama.cpp has these flags


class Flag(NamedTuple):
    """An option by its long name, without dashes; one that is on or off has a bool."""

    name: str
    value: str | bool

    @property
    def words(self) -> list[str]:
        """On a command line."""
        if isinstance(self.value, bool):
            return [f"--{self.name}" if self.value else f"--no-{self.name}"]
        return [f"--{self.name}", self.value]

    @property
    def line(self) -> str:
        """In a models file."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.name} = {value}"


# Without them there are four slots, a cache of prompts of up to 8 GiB, copies of the context per slot, and other values
# for what is not set: none was measured.
_MEMORY = (Flag("parallel", "1"), Flag("cache-ram", "0"), Flag("ctx-checkpoints", "0"), Flag("fit", "off"))


def flags_of(plan: Plan) -> list[Flag]:
    """Return the settings that were measured, and those that make the measured memory hold."""
    config = plan.config
    flags = [
        Flag("threads", str(config.n_threads)),
        Flag("threads-batch", str(config.n_threads_batch)),
        Flag("ctx-size", str(plan.n_ctx)),
        Flag("batch-size", str(config.n_batch)),
        Flag("ubatch-size", str(config.n_ubatch)),
        Flag("cache-type-k", config.type_k),
        Flag("cache-type-v", config.type_v),
        Flag("flash-attn", "on" if plan.flash_attn else "off"),
        Flag("load-mode", config.load_mode),
        Flag("repack", config.repack),
    ]
    if config.device == "cpu":
        flags.append(Flag("device", "none"))
    else:
        flags.append(Flag("n-gpu-layers", "all" if config.n_gpu_layers < 0 else str(config.n_gpu_layers)))
    if config.cores is not None:
        mask = hex(sum(1 << core for core in set(config.cores)))
        # That of prefill is not taken from the other one where its thread count is given.
        flags += [Flag("cpu-mask", mask), Flag("cpu-mask-batch", mask)]
    flags += [Flag("swa-full", True)] if config.swa_full else []
    flags += _MEMORY
    flags += [Flag("lazy-mode", "off")] if plan.reads_lazily else []
    return flags


def command_line(program: str, plan: Plan) -> str:
    """Return the line that starts "llama-server" or "llama-cli"."""
    return shlex.join([program, "--model", plan.model_path, *(word for flag in flags_of(plan) for word in flag.words)])


def script(line: str, plan: Plan) -> str:
    """Return a file that runs a line in its own folder, with the arguments that it gets itself after the others."""
    lines = commented("#", [*about(plan), f"Flags of the llama.cpp in {PINNED}; other versions can have other ones."])
    return "\n".join(["#!/bin/sh", *lines, 'cd -- "$(dirname -- "$0")" || exit', f'exec {line} "$@"', ""])


def models_ini(plan: Plan) -> str:
    """Return a models file with one preset, which is named after the file."""
    start = "Start in this folder: llama-server --models-preset models.ini"
    model = f"model = {plan.model_path}"
    lines = commented(";", [*about(plan), start, f"Keys of the llama.cpp in {PINNED}."])
    if re.search(r"[;#]", plan.model_path) or plan.model_path != plan.model_path.strip():
        # There is no quoting: a value ends where a comment starts.
        lines.append("; A models file cannot hold this file's name. Rename the file, and write its new name here:")
        model = "model ="
    return "\n".join([*lines, "version = 1", "", f"[{_section(plan)}]", model, *(f.line for f in flags_of(plan)), ""])


def _section(plan: Plan) -> str:
    """Return the name by which a request selects the preset: nothing in it ends the section or is read as a tag."""
    stem = stem_of(Path(plan.cell.artifact.file_name))
    return re.sub(r"[^A-Za-z0-9._]+", "-", stem).strip("-") or "model"
