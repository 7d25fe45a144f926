"""llama.cpp's own converter, from a source tree of the user, for architectures that are not converted here.

This runs the code in that folder, in the Python environment that the user names; it needs what llama.cpp's converter
needs, such as torch. Nothing of it is imported into this program.
"""

import subprocess
import tempfile
from pathlib import Path

from quant.base.child import error_line, tail_of
from quant.base.errors import UserError
from quant.base.files import atomic_path
from quant.base.text import message_line
from quant.gguf_io.finite import refuse_not_finite
from quant.gguf_io.header import open_gguf_header

_SCRIPT = "convert_hf_to_gguf.py"


def convert_with(
    converter: Path, python: str, checkpoint_dir: Path, target: Path, *, outtype: str = "auto", model: str | None = None
) -> None:
    """Convert a checkpoint with the converter in a folder; the file is written whole or not at all.

    Raises:
        UserError: the folder holds no converter, the interpreter cannot be started, or the converter failed.
    """
    script = converter / _SCRIPT
    if not script.is_file():
        raise UserError(f"{converter} has no {_SCRIPT}; pass the folder of llama.cpp's sources with --converter")
    with atomic_path(target, read_again=True) as part, tempfile.TemporaryFile() as stderr:
        command = [python, str(script.absolute()), str(checkpoint_dir.absolute()), "--outfile", str(part.absolute())]
        command += ["--outtype", outtype, *(["--model-name", model] if model else [])]
        try:
            done = subprocess.run(  # noqa: S603  the user chose to run it
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, check=False
            )
        except OSError as error:
            raise UserError(
                f"cannot start {python}: {error.strerror}; name an interpreter with --converter-python"
            ) from error
        if done.returncode:
            reason = message_line(error_line(tail_of(stderr))) or f"status {done.returncode}"
            raise UserError(
                f"{script} failed on {checkpoint_dir}: {reason}; it needs torch and transformers in the environment "
                "that --converter-python names"
            )
        refuse_not_finite(open_gguf_header(part))
