"""What is to run, and the texts that run it."""

from typing import NamedTuple

import msgspec

from profiler.records.cell_summary import CellSummary
from profiler.records.config import RunConfig

# llama.cpp's lazy mode "auto" is for tensors above it. Source: --lazy-mode in common/arg.cpp of the pinned llama.cpp.
_LAZY_BYTES = 4 << 30


class Deploy(msgspec.Struct, frozen=True, kw_only=True):
    """A cell as what runs it. All paths are relative to the folder where a line or a file is used."""

    llama_server: str  # a line for a shell
    llama_cli: str  # a line for a shell
    modelfile: str  # Ollama's
    models_ini: str  # for llama-server --models-preset
    python: str  # a program on llama-cpp-python


class Plan(NamedTuple):
    """A cell, where its file is, and the context that it is to run with."""

    cell: CellSummary
    model_path: str  # printable, and no option by its first character
    n_ctx: int

    @property
    def config(self) -> RunConfig:
        """The settings that were measured."""
        return self.cell.config

    @property
    def reads_lazily(self) -> bool:
        """Whether llama.cpp may read a tensor's rows as needed by default, which was off when it was measured."""
        return self.cell.artifact.file_bytes > _LAZY_BYTES

    @property
    def flash_attn(self) -> bool:
        """Whether flash attention was in force; as requested where llama.cpp did not report it."""
        in_force = self.cell.flash_attn
        return self.config.flash_attn != "off" if in_force is None else in_force
