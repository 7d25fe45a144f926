"""A GGUF file on disk and the facts in its header."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec

from quant.base.errors import UserError
from quant.base.hashes import cached_sha256
from quant.base.ints import MOST, Int64
from quant.base.text import one_line, printable_name
from quant.gguf_io.decode_bytes import decode_weight_bytes, n_params_active
from quant.gguf_io.header import GgufHeader, open_gguf_header
from quant.gguf_io.levels import LEVEL_BY_FTYPE, LEVELS, is_level, strip_level
from quant.gguf_io.quantized import QuantizedFacts, facts_of
from quant.gguf_io.shards import stem_of
from quant.gguf_io.state_sizes import cached_layers, state_bytes


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The hyper-parameters that memory and speed depend on; None if the file lacks them."""

    n_layer: Int64
    n_embd: Int64
    n_vocab: Int64
    n_ctx_train: Int64
    n_head: Int64 | None = None
    n_head_kv: tuple[Int64, ...] | None = None  # one per layer; as often as all layers are computed
    head_dim_k: Int64 | None = None
    head_dim_v: Int64 | None = None
    state_bytes: Int64 = 0  # that recurrent layers keep for a sequence of any length
    n_ff: tuple[Int64, ...] | None = None  # one per layer
    sliding_window: Int64 | None = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True, tag="artifact", tag_field="type"):
    """The facts of one GGUF file. As a record it has the file's name, never its path."""

    sha256: str  # of the file; of shards, of the list of their hashes
    file_name: str
    file_bytes: Int64  # all shards
    tensor_bytes: Int64
    model: str  # the file's name without its level; of a source that was converted, the source's
    arch: str
    n_params: Annotated[int, msgspec.Meta(ge=1, le=MOST)]  # unique: a tied output matrix counts once
    n_params_active: Int64 | None = None  # of these, those that one token uses; None: an older record
    level: str  # the level's name, "F16" for an unquantized file, "mixed" if none fits
    tensor_types: dict[str, Int64]  # ggml type name -> number of tensors
    fallbacks: dict[str, Int64] = {}  # "q4_K -> q5_0" -> number of tensors
    imatrix_sha256: str | None = None
    weights: str = "real"  # "real" | "synthetic"
    standin_for: str | None = None  # the model whose shape synthetic weights have
    standin_family: str | None = None  # its family, if llama.cpp lacks it and the shape is of another family
    source: str | None = None  # hub repository or registry name, never a path
    revision: str | None = None  # the commit
    shape: Shape | None = None
    decode_weight_bytes: Int64 | None = None  # read per decoded token
    general_name: str | None = None  # in the header; before it was recorded, it was the `model`

    @property
    def bpw(self) -> float:
        """Effective bits per weight: 8 times the bytes of the tensors, per unique parameter."""
        return 8 * self.tensor_bytes / self.n_params


# Metadata that this program writes; a quantized file inherits it from its source.
WEIGHTS_KEY = "slmprof.weights"  # "synthetic" for synthetic weights
STANDIN_KEY = "slmprof.standin_for"  # the model whose shape they have
STANDIN_FAMILY_KEY = "slmprof.standin_family"  # its family, if the file is of another family
SOURCE_KEY = "slmprof.source"  # hub repository or registry name
REVISION_KEY = "slmprof.revision"  # its commit
IMATRIX_KEY = "slmprof.imatrix.sha256"

_KINDS = {
    "mmproj": "a projector for images or audio (mmproj), not a language model",
    "adapter": "an adapter (LoRA), not a whole model",
    "imatrix": "an importance matrix (--imatrix takes it), not a model",
    "controlvector": "a control vector, not a model",
}
# Architectures without a decoder. Source: LLM_ARCH_NAMES in src/llama-arch.cpp of the pinned llama.cpp.
_ENCODERS = {
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
    "t5encoder", "gemma-embedding", "llama-embed", "wavtokenizer-dec",
}  # fmt: skip
_DIFFUSION = {"dream", "llada", "llada-moe", "rnd1"}  # they write text, though not from left to right
_MAX_LAYERS = 512  # LLAMA_MAX_LAYERS in src/llama-hparams.h
_MAX_TEXT = 120
_REPOSITORY = re.compile(r"(?:https://huggingface\.co/)?([A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?)/?")
_REVISION = re.compile(r"[\w.-]{1,100}")
# llama.cpp's name for a file without a level: the usual mix of the type that most tensors have.
# Source: llama_model_loader in src/llama-model-loader.cpp.
_USUAL = {"q2_K": "Q2_K", "q3_K": "Q3_K_M", "q4_K": "Q4_K_M", "q5_K": "Q5_K_M", "iq3_s": "IQ3_S", "iq2_s": "IQ2_S"}


def describe(path: Path) -> Artifact:
    """Return the facts of a GGUF model file, or of all its shards.

    `n_params` counts every tensor of the file, as llama_model_n_params does: a tied output matrix has no tensor of
    its own and so counts once; the few constants of a RoPE scaling count too.

    Raises:
        UserError: the file does not exist, is damaged, or holds no language model.
    """
    header = open_gguf_header(path)
    return artifact_of(header, cached_sha256(header.paths))


def artifact_of(header: GgufHeader, sha256: str) -> Artifact:
    """Return the facts in a header, and what is known of a file that was quantized here.

    Raises:
        UserError: the file holds no language model.
    """
    path, arch = header.paths[0], require_model(header)
    known = facts_of(sha256)
    return Artifact(
        sha256=sha256,
        file_name=printable_name(path.name),
        file_bytes=header.file_bytes,
        tensor_bytes=sum(tensor.nbytes for tensor in header.tensors),
        model=_model_name(header, path),
        general_name=_general_name(header),
        arch=_clean(arch),
        n_params=sum(tensor.n_weights for tensor in header.tensors),
        n_params_active=n_params_active(header, arch),
        level=level_of(header),
        tensor_types=dict(sorted(Counter(tensor.type.name for tensor in header.tensors).items())),
        fallbacks=known.fallbacks if known else {},
        imatrix_sha256=_imatrix(header, known),
        weights="synthetic" if header.text(WEIGHTS_KEY) == "synthetic" else "real",
        standin_for=_clean(header.text(STANDIN_KEY) or "") or None,
        standin_family=_clean(header.text(STANDIN_FAMILY_KEY) or "") or None,
        source=_source(header),
        revision=_matching(_REVISION, header.text(REVISION_KEY)),
        shape=_shape(header, arch),
        decode_weight_bytes=decode_weight_bytes(header, arch),
    )


def open_model(path: Path) -> GgufHeader:
    """Read the header of a language model's file, or of all its shards.

    Raises:
        UserError: the file does not exist, is damaged, or holds no language model.
    """
    header = open_gguf_header(path)
    require_model(header)
    return header


def require_model(header: GgufHeader) -> str:
    """Return the architecture of a file that holds a language model.

    Raises:
        UserError: it holds something else; the text is the same for every command.
    """
    path, arch = header.paths[0], header.text("general.architecture") or ""
    kind = header.text("general.type") or ("imatrix" if "imatrix.chunk_count" in header.metadata else "model")
    if arch == "clip":
        kind = "mmproj"
    if kind != "model" or arch == "controlvector":
        held = _KINDS.get(kind if kind != "model" else arch) or f"a {_clean(kind)}"
    elif arch in _ENCODERS or (header.metadata.get(f"{arch}.attention.causal") is False and arch not in _DIFFUSION):
        held = f"an encoder ({_clean(arch)}), which generates no text"
    elif not arch or not header.tensors:
        held = "no weights, only a vocabulary" if arch else "no model"
    else:
        return arch
    raise UserError(f"{path} holds {held}; pass a language model's GGUF file")


def level_of(header: GgufHeader) -> str:
    """Return the level in the header if the tensors agree, else the one that fits the tensors, or "mixed"."""
    quantized = Counter(tensor.type.name for tensor in header.tensors if tensor.type.is_quantized)
    named = LEVEL_BY_FTYPE.get((header.whole("general.file_type") or 0) & 1023)  # without LLAMA_FTYPE_GUESSED
    if "general.file_type" in header.metadata and named and (named.family == "float") != bool(quantized):
        return named.name
    types = quantized or Counter(tensor.type.name for tensor in header.tensors if len(tensor.dims) > 1)
    if not types:
        return "F32"
    commonest = types.most_common(1)[0][0]
    fitting = [level.name for level in LEVELS if level.main_type == commonest]
    return _USUAL.get(commonest) or (fitting[0] if len(fitting) == 1 else "mixed")


def _model_name(header: GgufHeader, path: Path) -> str:
    """Return the file's name without its level; the header's name is a base's or a folder's, in many files."""
    stem = stem_of(path)
    name = _clean(strip_level(stem))
    # "Q8_0.gguf" is named by its level alone.
    return (_general_name(header) or name) if is_level(stem) else name


def _general_name(header: GgufHeader) -> str | None:
    # Some converters wrote the path of the checkpoint as the name.
    return _clean(re.split(r"[/\\]", (header.text("general.name") or "").rstrip("/\\"))[-1]) or None


def _clean(text: str) -> str:
    """Return untrusted text as one line of a table."""
    return one_line(text, _MAX_TEXT)


def _matching(pattern: re.Pattern[str], text: str | None) -> str | None:
    match = pattern.fullmatch(text or "")
    return match[match.re.groups] if match else None


def _source(header: GgufHeader) -> str | None:
    for key in (SOURCE_KEY, "general.source.huggingface.repository", "general.source.repo_url", "general.repo_url"):
        if found := _matching(_REPOSITORY, header.text(key)):
            return found
    return None


def _imatrix(header: GgufHeader, known: QuantizedFacts | None) -> str | None:
    return _matching(re.compile("[0-9a-f]{64}"), header.text(IMATRIX_KEY)) or (known.imatrix_sha256 if known else None)


def _shape(header: GgufHeader, arch: str) -> Shape | None:
    n_layer = header.whole(f"{arch}.block_count")
    n_embd = header.whole(f"{arch}.embedding_length")
    n_ctx_train = header.whole(f"{arch}.context_length")
    n_vocab = header.length("tokenizer.ggml.tokens") or header.whole(f"{arch}.vocab_size")
    if not n_layer or not n_embd or not n_ctx_train or not n_vocab or n_layer > _MAX_LAYERS:
        return None
    n_heads = header.wholes(f"{arch}.attention.head_count", n_layer)
    n_head = max(n_heads) if n_heads else None
    head_dim = n_embd // n_head if n_head and n_head > 0 else None
    heads_kv = header.wholes(f"{arch}.attention.head_count_kv", n_layer) or n_heads
    if heads_kv is not None:
        cached = cached_layers(header, arch, n_layer)
        heads_kv = tuple(number if has_cache else 0 for number, has_cache in zip(heads_kv, cached, strict=True))
        # Each loop has its own cache. Source: load_arch_hparams in src/models/nanbeige.cpp of the pinned llama.cpp.
        loops = max(1, header.whole(f"{arch}.num_loops") or 1)
        heads_kv *= loops if n_layer * loops <= _MAX_LAYERS else 1
    return Shape(
        n_layer=n_layer,
        n_embd=n_embd,
        n_vocab=n_vocab,
        n_ctx_train=n_ctx_train,
        n_head=n_head,
        n_head_kv=heads_kv,
        head_dim_k=header.whole(f"{arch}.attention.key_length") or head_dim,
        head_dim_v=header.whole(f"{arch}.attention.value_length") or head_dim,
        state_bytes=min(state_bytes(header, arch, n_layer, n_embd), MOST),
        n_ff=header.wholes(f"{arch}.feed_forward_length", n_layer),
        sliding_window=header.whole(f"{arch}.attention.sliding_window") or None,
    )
