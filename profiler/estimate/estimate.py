"""From a model's facts to its size and memory on this device: pure arithmetic, each part with its source.

    weights          llama.cpp's dry run: every tensor's type; bytes by type and shape
    repacked         ggml's answer for each type and shape on this CPU
    KV cache         llama.cpp's own plan of the context, compared with a formula
    compute buffer   likewise; the part in use is what the largest batch of the load writes, with one token's logits,
                     and all of it where this build of llama.cpp does not plan such a batch
    runtime          measured on this device with tiny files, plus the input of the widest product, converted to the
                     type in which it is multiplied: a row for each token of the largest batch

The peak is the larger of two moments. When all weights are loaded: with mmap every page of the file is resident, header
included, beside the repacked copies; without it the tensor that was repacked last is in memory twice. And when a full
batch has been computed: pages before the first and after the last tensor in use were dropped.
"""

from collections.abc import Sequence

import msgspec

from profiler.estimate.overheads import Overheads
from profiler.estimate.records import ContextSize, LevelSize, Sizes
from profiler.predict.speed import Speeds
from profiler.records.config import RunConfig

# Of a GGUF header, for each token of the vocabulary: its text, type and merges. The vocabulary files that come with
# llama.cpp have 23 (SentencePiece) to 61 (llama-bpe, twice as many merges as tokens), most BPE ones 35 to 42.
_HEADER_BYTES_PER_TOKEN = 39


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one level, with one load mode and one n_outputs_max."""

    model: str
    sizes: Sizes
    level: LevelSize
    context: ContextSize
    config: RunConfig  # load_mode "mmap" or "none"
    runtime_bytes: int
    file_bytes: int
    model_rss_bytes: int
    need_bytes: int  # without pages that the system can drop: those of tensors that were repacked
    speeds: Speeds | None = None  # where this device is calibrated

    @property
    def bpw(self) -> float:
        """Effective bits per weight."""
        return 8 * self.level.tensor_bytes / self.level.n_params

    @property
    def weights_bytes(self) -> int:
        """The weights that are not repacked; with mmap, all pages from the first to the last of them."""
        return self.level.mapped_bytes if self.config.load_mode == "mmap" else self.level.plain_bytes

    def decode_tps_limit(self, read_bytes_per_s: float) -> float | None:
        """Return the tokens per second that reading the weights allows at most, with an empty cache."""
        n_bytes = self.level.decode_weight_bytes
        return read_bytes_per_s / n_bytes if n_bytes else None

    def fits(self, available_bytes: int) -> bool:
        """Return whether it fits into so much memory."""
        return self.need_bytes <= available_bytes


def estimates_of(
    model: str, sizes: Sizes, configs: Sequence[RunConfig], overheads: Overheads, *, load_modes: Sequence[str]
) -> list[Estimate]:
    """Estimate every level that can be made, with every load mode and every context.

    Args:
        configs: of the contexts, in their order.
    """
    contexts = list(zip(configs, sizes.contexts, strict=True))
    return [
        _estimate(model, sizes, level, context, msgspec.structs.replace(config, load_mode=mode), overheads)
        for level in sizes.levels
        if level.refusal is None
        for mode in load_modes
        for config, context in contexts
    ]


def _estimate(
    model: str,
    sizes: Sizes,
    level: LevelSize,
    context: ContextSize,
    config: RunConfig,
    overheads: Overheads,
) -> Estimate:
    header = sizes.header_bytes if sizes.header_bytes is not None else _HEADER_BYTES_PER_TOKEN * sizes.n_vocab
    runtime = overheads.runtime_bytes(sizes) + level.n_work_bytes_per_token * sizes.n_tokens
    touched = context.compute_bytes if sizes.touched_bytes is None else sizes.touched_bytes
    computing = context.kv_cache_bytes + context.output_bytes + touched
    file_bytes = header + level.data_bytes
    copied = max(
        runtime + level.plain_bytes + level.repacked_bytes + level.largest_repacked_bytes,
        runtime + level.plain_bytes + level.repacked_bytes + computing,
    )
    mapped = max(
        runtime + file_bytes + level.repacked_bytes,
        runtime + level.mapped_bytes + level.repacked_bytes + computing,
    )
    return Estimate(
        model=model,
        sizes=sizes,
        level=level,
        context=context,
        config=config,
        runtime_bytes=runtime,
        file_bytes=file_bytes,
        model_rss_bytes=mapped if config.load_mode == "mmap" else copied,
        need_bytes=copied,
    )
