"""The face of a tqdm bar for code that asks for one, over this program's own progress."""

from typing import Any

from quant.base.progress import Progress


def meter_class(progress: Progress, stage: str, before: int, n_bytes: int, total: int) -> type:
    """Give a class with tqdm's face that reports the bytes of one file as part of all."""

    class Meter:
        def __init__(self, *_args: Any, initial: int = 0, **options: Any) -> None:
            # hf_xet draws a second bar for what the network carried, which is not the file's own bytes.
            self.counts = "downloading bytes" not in str(options.get("desc", ""))
            self.n = initial
            self.total: int | None = None
            self.format_dict: dict[str, Any] = {}

        def __enter__(self) -> "Meter":
            return self

        def __exit__(self, *_error: object) -> None:
            self.close()

        def update(self, n: float = 1) -> None:
            self.n += int(n)
            if self.counts:
                progress(stage, before + max(0, min(self.n, n_bytes)), total)

        def close(self) -> None:
            """Draw nothing."""

        def refresh(self, *_args: Any, **_options: Any) -> None:
            """Draw nothing."""

        def set_postfix_str(self, *_args: Any, **_options: Any) -> None:
            """Draw nothing."""

        def set_description(self, *_args: Any, **_options: Any) -> None:
            """Draw nothing."""

    return Meter
