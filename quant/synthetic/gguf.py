"""From a shape to runnable files at several levels with synthetic weights, at the disk's speed and with no checkpoint.

Speed and memory of a dense model depend on its shape and on its tensors' types, not on the values. The types are
llama.cpp's own choice, as in quant/quantize/from_checkpoint.py; the data is a small random base in each type, repeated.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.gguf_io.levels import file_name
from quant.quantize.from_checkpoint import LevelWriter
from quant.quantize.level_messages import OpenShape


def shape_writer(config: Mapping[str, Any], *, standin_for: str, seed: int = 0, hashed: bool = False) -> LevelWriter:
    """Return a writer of a shape's files.

    Args:
        config: of a config.json; `slmprof_standin_family` marks the shape of another family.
        standin_for: the model that has the shape.
        hashed: compute the files' sha256 while they are written, and keep them: for files that are described next.
    """
    return LevelWriter(
        "quant.synthetic.gguf_worker",
        standin_for,
        lambda header: OpenShape(config=dict(config), standin_for=standin_for, header=header, seed=seed, hashed=hashed),
    )


def synthesize_levels(
    config: Mapping[str, Any],
    levels: str,
    output: Path,
    *,
    standin_for: str,
    seed: int = 0,
    imatrix: Path | None = None,
) -> list[Path]:
    """Write a file at each level of a list, named by gguf's convention with "synthetic" for the fine-tune.

    Args:
        output: a directory, or the one file where its name ends in .gguf.

    Raises:
        UserError: a level does not exist or needs an importance matrix, several levels are to go into one file, the
            config is wrong, or the disk is too small.
    """
    one_file = output.suffix == ".gguf"
    with shape_writer(config, standin_for=standin_for, seed=seed) as writer:
        written = writer.write(
            writer.levels(levels, imatrix=imatrix),
            lambda level: output if one_file else output / file_name(writer.stem, level),
            imatrix=imatrix,
        )
    return [each.path for each in written]
