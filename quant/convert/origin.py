"""Where a checkpoint came from, as far as it is known."""

import msgspec


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a GGUF file says of its origin."""

    model: str | None = None  # general.name; without it, what the model card or the directory says
    source: str | None = None  # hub repository
    revision: str | None = None  # and commit
