"""A GGUF file on disk and the facts that stand in its header."""

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The hyper-parameters that memory and speed depend on; None where the file does not say."""

    n_layer: int
    n_embd: int
    n_vocab: int
    n_ctx_train: int
    n_head: int | None = None
    n_head_kv: tuple[int, ...] | None = None  # one per layer
    head_dim_k: int | None = None
    head_dim_v: int | None = None
    n_ff: tuple[int, ...] | None = None  # one per layer
    sliding_window: int | None = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True, tag="artifact", tag_field="type"):
    """What is known about one GGUF file. It is a record, so it holds the file's name and never its path."""

    sha256: str  # of the file; of shards, of the list of their hashes
    file_name: str
    file_bytes: int  # all shards
    tensor_bytes: int
    model: str
    arch: str
    n_params: int  # unique: a tied output matrix counts once
    level: str  # the level's name, "F16" for an unquantized file, "mixed" where none fits
    tensor_types: dict[str, int]  # ggml type name -> number of tensors
    fallbacks: dict[str, int] = {}  # "q4_K -> q5_0" -> number of tensors
    imatrix_sha256: str | None = None
    weights: str = "real"  # "real" | "synthetic"
    standin_for: str | None = None  # the model whose shape synthetic weights have
    source: str | None = None  # hub repository or registry name, never a path
    revision: str | None = None  # the commit
    shape: Shape | None = None

    @property
    def bpw(self) -> float:
        """Effective bits per weight: 8 times the bytes of the tensors, per unique parameter."""
        return 8 * self.tensor_bytes / self.n_params
