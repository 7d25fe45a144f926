"""From a shape to runnable files at several levels with made-up weights, at the disk's speed and with no checkpoint.

Speed and memory of a dense model depend on its shape and on its tensors' types, not on the values. The types are
llama.cpp's own choice, as in quant/quantize/from_checkpoint.py; the data is a small random base in each type, repeated.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.base.progress import Progress, silent
from quant.gguf_io.levels import file_name
from quant.quantize.from_checkpoint import Straight


class Tiled(Straight):
    """A shape that is laid out in a process of its own; use it in a `with` block.

    Args:
        config: of a config.json; `slmprof_standin_family` marks the shape of another family.
        standin_for: the model that has the shape.
        hashed: compute the files' sha256 while they are written, and remember them: for files that are described next.

    Raises:
        UserError: the architecture is unknown or the config incomplete.
    """

    _worker = "quant.synthetic.gguf_worker"

    def __init__(self, config: Mapping[str, Any], *, standin_for: str, seed: int = 0, hashed: bool = False) -> None:
        super().__init__(Path(standin_for))
        self._opening = {"config": dict(config), "standin_for": standin_for, "seed": seed, "hashed": hashed}


def synthesize_levels(
    config: Mapping[str, Any],
    levels: str,
    output: Path,
    *,
    standin_for: str,
    seed: int = 0,
    imatrix: Path | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Make a file at each level of a list, named by gguf's convention with "synthetic" for the fine-tune.

    Args:
        output: a directory, or the one file where its name ends in .gguf.

    Raises:
        UserError: a level does not exist or needs an importance matrix, several levels are to go into one file, the
            config is wrong, or the disk is too small.
    """
    one_file = output.suffix == ".gguf"
    with Tiled(config, standin_for=standin_for, seed=seed) as opened:
        made = opened.write(
            opened.levels(levels, imatrix=imatrix),
            lambda level: output if one_file else output / file_name(opened.stem, level),
            imatrix=imatrix,
            progress=progress,
        )
    return [each.path for each in made]
