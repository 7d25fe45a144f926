"""What a file of torch.save is refused for."""

from pathlib import Path

from quant.base.errors import UserError

_NAME_CHARS = 120


class Refusals:
    """The errors for one file, each with the next step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def hostile(self, what: str) -> UserError:
        """Return the error for a file that asks for more than weights need; it is read no further."""
        return UserError(
            f"{self._path} {what}, which no weights need, and none of it was run; use a repository with safetensors"
        )

    def unreadable(self, what: str) -> UserError:
        """Return the error for a file that may be good, and is not read here."""
        return UserError(f"{self._path} {what}; save the model again with transformers' save_pretrained")

    def broken(self, what: str) -> UserError:
        """Return the error for a file that contradicts itself or its format."""
        return UserError(f"{self._path} is broken: {what}; download it again")

    def name(self, module: str, name: str) -> UserError:
        """Return the error for a function or a class that a pickle names."""
        return self.hostile(f"names {module[:_NAME_CHARS]}.{name[:_NAME_CHARS]}")
