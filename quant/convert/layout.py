"""The plan of a conversion: each tensor of the GGUF file, where its rows come from, and the file's header.

Tensors and keys are in the order of llama.cpp's own converter; `make parity` compares both.
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import gguf
import numpy as np

from quant.base.errors import UserError
from quant.convert.adapter.merge import with_adapter
from quant.convert.checkpoint import Checkpoint, open_checkpoint
from quant.convert.families import complete_config, family_of, planned_tensors
from quant.convert.families.base import Config, ExtraTensors, Family, need, rope_parameters
from quant.convert.families.planned import Planned
from quant.convert.job import Job
from quant.convert.model_card import load_metadata
from quant.convert.provenance import Origin
from quant.convert.safetensors_file import Tensor
from quant.convert.scalars import scalars_by_layer
from quant.convert.stored.kept import kept_first, stored_note, wide_inputs
from quant.convert.tensor_names import (
    OUTPUT,
    adapter_error,
    as_saved,
    as_stored,
    is_adapters,
    missing_error,
    text_tensors,
    usual_names,
)
from quant.convert.tokenizer.synthetic import synthetic_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary
from quant.convert.vocabulary_kinds import kind_of_shape
from quant.gguf_io.artifact import REVISION_KEY, SOURCE_KEY, STANDIN_FAMILY_KEY, STANDIN_KEY, WEIGHTS_KEY
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import Entry, Keys, padded, serialize_keys

# Buffers that old checkpoints carry; they are computed, not learned.
_IGNORED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
# Architectures of which llama.cpp takes the embedding for a missing output matrix.
# Source: LLM_TENSOR_OUTPUT in src/models/ of the pinned llama.cpp.
_TIED_BY_LLAMA_CPP = {
    "llama", "qwen2", "qwen3", "phi3", "bloom", "gpt2", "olmo", "granite", "minicpm", "minicpm3", "smollm3",
    "falcon", "mpt", "starcoder", "starcoder2", "jais2", "refact",
    "qwen3moe", "granitemoe", "afmoe", "deepseek", "deepseek2", "ernie4_5-moe", "hunyuan-moe", "smallthinker",
    "arcee", "ernie4_5", "hunyuan-dense", "exaone", "exaone4", "seed_oss", "mistral3", "qwen2vl", "qwen3vl",
    "chatglm", "glm4", "pangu-embedded", "nanbeige", "paddleocr", "spark2_5", "deci", "maincoder", "hunyuan_vl",
    "granite_swa", "plamo3", "deepseek2-ocr",
    "lfm2", "mamba", "mamba2", "granitehybrid", "jamba", "lfm2moe", "nemotron_h",
    "qwen35", "qwen35moe", "qwen3next",
}  # fmt: skip
_MAX_EXTRA_LAYERS = 16  # that predict further tokens; models have one or two
_NO_FOLDER = Path("synthetic")  # the folder of a shape, which has no files
# gguf logs what it adds and overwrites, which is noise to a user.
for _name in ("gguf", "metadata"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Layout:
    """Everything but the weights themselves."""

    checkpoint: Checkpoint
    family: Family
    jobs: tuple[Job, ...]
    extra: ExtraTensors  # made from the config; written before all jobs but the first, in F32
    origin: Origin
    pre: str | None = None  # the pre-tokenizer's name, if the user gave it
    synthetic: bool = False  # a shape: there are no files and no weights
    n_first: int = 0  # of the jobs: matrices that are kept as they are stored, and their factors

    @property
    def lossless_type(self) -> str:
        """The narrowest type that holds every matrix that is not kept: "BF16", "F16" or "F32"."""
        found = {job.dtype for job in self.jobs if not (job.is_vector or job.kept)}
        return found.pop() if len(found) == 1 and found <= {"F16", "BF16"} else "F32"

    def types_at(self, matrix_type: str) -> dict[str, str]:
        """Return each tensor's ggml type when all matrices that are not kept have one: "F32", "F16" or "BF16"."""
        return {job.target: job.kept or ("f32" if job.is_vector else matrix_type.lower()) for job in self.jobs}

    def data_bytes(self, types: Mapping[str, str]) -> int:
        """Return the bytes of all tensors, with the gaps between them."""
        made = sum(padded(TYPE_BY_NAME[types[job.target]].nbytes(job.dims)) for job in self.jobs)
        return made + sum(padded(values.nbytes) for values in self.extra.values())

    @property
    def n_params(self) -> int:
        """The values of all tensors."""
        return sum(job.planned.n_elements for job in self.jobs) + sum(values.size for values in self.extra.values())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary; reading 150,000 tokens takes a second.

        Raises:
            UserError: there is no tokenizer, it is broken, or its pre-tokenizer is unknown.
        """
        folder, config = self.checkpoint.folder, self.checkpoint.config
        if self.synthetic:
            return synthetic_vocabulary(need(config, "vocab_size"), self.family.arch, kind_of_shape(config))
        if self.family.vocabulary is not None:
            return self.family.vocabulary(folder, config, self.pre)
        return load_vocabulary(folder, config, pre=self.pre, space_prefix_key=self.family.space_prefix_key)

    @cached_property
    def keys(self) -> Keys:
        """All keys, serialized; the file type is replaced later.

        Raises:
            UserError: the vocabulary cannot be read, or a key cannot be written.
        """
        return self.keys_with(self.vocabulary)

    @cached_property
    def keys_without_vocabulary(self) -> Keys:
        """The keys that llama.cpp needs to choose each tensor's type.

        Raises:
            UserError: a key cannot be written.
        """
        return self.keys_with(None)

    def keys_with(self, vocabulary: Vocabulary | None) -> Keys:
        """Return all keys with another vocabulary, or with none.

        Raises:
            UserError: a key cannot be written.
        """
        writer = gguf.GGUFWriter(None, self.family.arch)
        for name, values in self.extra.items():
            writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
        for job in self.jobs:
            writer.add_tensor_info(job.target, job.planned.shape, np.dtype(np.float32), 4 * job.planned.n_elements)
        try:
            self._write_keys(writer, 0, vocabulary)
            return serialize_keys(writer)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, struct.error) as error:
            # Templates, merges and ids are untrusted; gguf raises various errors on invalid ones.
            raise UserError(
                f"the keys of {self.checkpoint.folder} cannot be written ({str(error)[:100]}); "
                "check its tokenizer files and config.json"
            ) from error

    def entries(self, types: Mapping[str, str]) -> list[Entry]:
        """Return the header's entries of all tensors in their order: those made from the config are second."""
        made = [Entry(name, values.shape[::-1], "f32") for name, values in self.extra.items()]
        stored = [Entry(job.target, job.dims, types[job.target]) for job in self.jobs]
        return stored[: self.n_first] + made + stored[self.n_first :]

    def extra_data(self) -> bytes:
        """Return the data of the tensors that are made from the config, with padding."""
        return b"".join(
            values.tobytes() + b"\0" * (padded(values.nbytes) - values.nbytes) for values in self.extra.values()
        )

    def _write_keys(self, writer: gguf.GGUFWriter, file_type: int, vocabulary: Vocabulary | None) -> None:
        """Add all keys, in the order of llama.cpp's converter, then this program's."""
        config = self.checkpoint.config
        self.family.early_keys(writer, config)
        total, shared, experts, n_experts = writer.get_total_parameter_count()
        metadata = load_metadata(None if self.synthetic else self.checkpoint.folder, self.origin.model, total)
        if metadata.size_label is None and total > 0:
            metadata.size_label = gguf.size_label(total, shared, experts, n_experts)
        writer.add_type(gguf.GGUFType.MODEL)
        metadata.set_gguf_meta_model(writer)
        self.family.write_keys(writer, config, file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        if names := wide_inputs(self.jobs):
            writer.add_array("general.tensor_extra.name", names)
            writer.add_array("general.tensor_extra.prec_a4", [False] * len(names))
        if vocabulary is not None:
            vocabulary.write(writer)
            self.family.vocabulary_keys(writer, config, vocabulary)
        if self.checkpoint.standin_for is not None:
            writer.add_string(WEIGHTS_KEY, "synthetic")
            writer.add_string(STANDIN_KEY, self.checkpoint.standin_for)
        if self.checkpoint.standin_family is not None:
            writer.add_string(STANDIN_FAMILY_KEY, self.checkpoint.standin_family)
        if self.origin.source is not None:
            if metadata.source_repo_url is None:
                writer.add_source_repo_url(f"https://huggingface.co/{self.origin.source}")
            writer.add_string(SOURCE_KEY, self.origin.source)
        if self.origin.revision is not None:
            writer.add_string(REVISION_KEY, self.origin.revision)


def open_layout(
    folder: Path,
    *,
    pre: str | None = None,
    origin: Origin | None = None,
    adapter: Path | None = None,
    keep: bool = False,
) -> Layout:
    """Read a checkpoint's config, vocabulary and headers, and match the checkpoint's tensors with the config's.

    Args:
        pre: llama.cpp's name of the pre-tokenizer, if it cannot be detected.
        adapter: the folder of a LoRA adapter, which is merged into the tensors while they are read.
        keep: whether matrices that are stored as MXFP4 and NVFP4 stay so, where llama.cpp computes with them.

    The vocabulary is read when it is first used.

    Raises:
        UserError: the weights, the config or the adapter are broken, or the architecture is unknown.
    """
    checkpoint = open_checkpoint(folder)
    family = family_of(checkpoint.config)
    composite = isinstance(checkpoint.config.get("text_config"), dict)
    config = complete_config(family, checkpoint.config)
    planned = planned_tensors(family, config)
    if composite:
        parts = None if checkpoint.parts is None else text_tensors(checkpoint.parts)
        checkpoint = replace(checkpoint, tensors=text_tensors(checkpoint.tensors), parts=parts)
    planned = as_stored(planned, checkpoint.tensors)
    tensors = usual_names(checkpoint.tensors, planned)
    config |= scalars_by_layer(folder, family, config, tensors)
    checkpoint = replace(checkpoint, config=config, tensors=tensors)
    planned = as_saved(planned, tensors)
    if adapter is not None:
        checkpoint = with_adapter(checkpoint, adapter, planned)
    if lack := _lacks_output(checkpoint, family, planned):
        planned = [each for each in planned if each.target != OUTPUT]
        checkpoint = replace(checkpoint, notes=(*checkpoint.notes, lack))
    extra = _extra_tensors(family, config, str(folder))
    jobs, n_first = list(_jobs(checkpoint, family, planned)), 0
    if keep:
        jobs, n_first = kept_first(jobs, list(tensors), checkpoint.method, family.arch)
    if checkpoint.method is not None:
        note = stored_note(jobs, f"{folder} is stored quantized ({checkpoint.method})")
        checkpoint = replace(checkpoint, notes=(*checkpoint.notes, note))
    return Layout(checkpoint, family, tuple(jobs), extra, origin or Origin(), pre, n_first=n_first)


def layout_of_shape(config: Config, *, standin_for: str) -> Layout:
    """Return the layout of a file with synthetic weights: bfloat16 matrices, a synthetic vocabulary.

    Args:
        config: of a config.json; `slmprof_standin_family` marks a stand-in, `slmprof_vocabulary` another kind than BPE.
        standin_for: the model that has this shape.

    Raises:
        UserError: the architecture is unknown or the config incomplete.
    """
    marked = {**config, "slmprof_synthetic": True, "slmprof_standin_for": standin_for}
    family = family_of(config)
    complete = complete_config(family, marked)
    planned = [each for each in planned_tensors(family, complete) if not each.optional]
    sources = {
        name: Tensor(name, "BF16", shape, _NO_FOLDER, 0) for each in planned for name, shape in each.source_tensors()
    }
    checkpoint = Checkpoint(_NO_FOLDER, complete, sources)
    jobs = tuple(Job(each, tuple(sources[name] for name in each.sources)) for each in planned)
    extra = _extra_tensors(family, complete, standin_for)
    return Layout(checkpoint, family, jobs, extra, Origin(model=standin_for), synthetic=True)


def _extra_tensors(family: Family, config: Config, name: str) -> ExtraTensors:
    try:
        extra = family.extra_tensors(config)
    except ArithmeticError as error:
        raise UserError(f"the rope settings of {name} cannot be computed ({error}); check its config.json") from error
    if rope_parameters(config).get("rope_type") == "llama3" and "rope_freqs.weight" not in extra:
        # Without the factors the model would silently generate wrong text.
        raise UserError(f"{name} asks for llama3's rope scaling, which is not supported for {family.arch}")
    return extra


def _jobs(checkpoint: Checkpoint, family: Family, planned: list[Planned]) -> Iterator[Job]:
    """Match the tensors of the config with those of the checkpoint, in the order of the files.

    Raises:
        UserError: a tensor is missing, unexpected or of another shape.
    """
    users: dict[str, list[Planned]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for each in planned:
        for name, shape in each.source_tensors():
            users.setdefault(name, []).append(each)
            shapes[name] = shape
    _refuse_types(checkpoint, family, users)
    _refuse_missing(checkpoint, users)
    awaited, groups = _groups(planned)
    for name, tensor in checkpoint.tensors.items():
        if _is_left_out(family, checkpoint.config, name):
            continue
        if name not in users:
            if is_adapters(name):
                raise adapter_error(checkpoint.folder, name)
            raise UserError(f"{checkpoint.folder} has the tensor {name}, which {checkpoint.architecture} does not have")
        if not _fits(tensor.shape, shapes[name], cut=all(each.cut for each in users[name])):
            raise UserError(
                f"tensor {name} is {list(tensor.shape)} where the config asks for {list(shapes[name])}; "
                "config.json and the weights do not belong together"
            )
        # Of several sources the last one to come completes the tensor, and of a group the last tensor.
        for group in dict.fromkeys(_group_of(each) for each in users[name]):
            awaited[group].discard(name)
            if not awaited[group]:
                yield from (_job(checkpoint, each) for each in groups[group])


def _groups(planned: list[Planned]) -> tuple[dict[str | None, set[str]], dict[str | None, list[Planned]]]:
    """Return the names that each group awaits, and its tensors. One without a group is a group of its own."""
    awaited: dict[str | None, set[str]] = {}
    groups: dict[str | None, list[Planned]] = {}
    for each in planned:
        awaited.setdefault(_group_of(each), set()).update(each.sources)
        groups.setdefault(_group_of(each), []).append(each)
    return awaited, groups


def _group_of(planned: Planned) -> str | None:
    return planned.group or planned.target


def _lacks_output(checkpoint: Checkpoint, family: Family, planned: list[Planned]) -> str | None:
    """Return a note where there is no output matrix though the config does not tie it, and llama.cpp does without."""
    output = next((each for each in planned if each.target == OUTPUT), None)
    if output is None or output.optional or output.name in checkpoint.tensors or family.arch not in _TIED_BY_LLAMA_CPP:
        return None
    return f"{checkpoint.folder} has no {output.name}; llama.cpp uses the embedding in its place"


def _is_left_out(family: Family, config: Config, name: str) -> bool:
    """Return whether a tensor is a buffer, or belongs to another part of a larger model."""
    ends = (*_IGNORED, *family.ignored, *family.scalars)
    return name.endswith(ends) or name.startswith(_omitted(family, config))


def _omitted(family: Family, config: Config) -> tuple[str, ...]:
    """Return how the names of omitted tensors start."""
    if family.extra_layers is None or not config.get(family.extra_layers):
        return family.omitted
    first = need(config, family.layers_key)
    extra = range(first, first + min(need(config, family.extra_layers), _MAX_EXTRA_LAYERS))
    return (*family.omitted, *(f"model.layers.{layer}." for layer in extra))


def _refuse_types(checkpoint: Checkpoint, family: Family, users: Mapping[str, list[Planned]]) -> None:
    """Refuse weights of other types before missing ones: quantized checkpoints have other names too."""
    is_whole = users.keys() <= checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        if tensor.is_plain or _is_left_out(family, checkpoint.config, name):
            continue
        if name in users or (tensor.is_packed and not is_whole):
            raise tensor.refusal()


def _refuse_missing(checkpoint: Checkpoint, users: Mapping[str, list[Planned]]) -> None:
    missing = [
        name
        for name, needed_by in users.items()
        if name not in checkpoint.tensors and not all(each.optional for each in needed_by)
    ]
    if missing:
        raise missing_error(checkpoint.folder, missing, checkpoint.tensors)


def _job(checkpoint: Checkpoint, planned: Planned) -> Job:
    sources = tuple(checkpoint.tensors[name] for name in planned.sources)
    if len({source.read_dtype for source in sources}) > 1:
        raise UserError(f"{checkpoint.folder} holds the parts of {planned.name} in several types; save it in one")
    return Job(planned, sources)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...], *, cut: bool) -> bool:
    return shape == wanted or (cut and shape[1:] == wanted[1:] and shape[:1] > wanted[:1])
