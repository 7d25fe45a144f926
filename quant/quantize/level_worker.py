"""The process behind a LevelWriter, whatever its source: it reads two requests and writes the files."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from quant.base.errors import UserError
from quant.base.files import write_problem
from quant.base.worker import Pipes, Send, end_child
from quant.convert.layout import Layout
from quant.convert.sparse_gguf import write_sparse
from quant.gguf_io.writer import Keys
from quant.quantize.level_messages import Finished, OpenCheckpoint, Opened, OpenShape, Refused, WriteLevels

S = TypeVar("S", OpenCheckpoint, OpenShape)
WriteFiles = Callable[[Layout, Future[Keys], WriteLevels, Send], Finished]


class LevelSource(NamedTuple):
    """An open source."""

    layout: Layout
    stem: str  # of the files' names
    read_keys: Callable[[], Keys]  # takes long
    write_files: WriteFiles


def serve_levels(kind: type[S], open_source: Callable[[S], LevelSource]) -> None:
    """Be the process of a LevelWriter.

    Args:
        open_source: returns the tensors, and what reads the keys and writes the files.
    """
    pipes = Pipes()
    try:
        opening = pipes.receive(kind)
        assert opening is not None
        layout, stem, read_keys, write_files = open_source(opening)
        write_sparse(layout, Path(opening.header))
        pipes.send(Opened(stem, layout.checkpoint.notes))
        with ThreadPoolExecutor(1) as reader:
            # The vocabulary takes long to read; the parent plans the levels meanwhile.
            keys = reader.submit(read_keys)
            request = pipes.receive(WriteLevels)
            if request is None:
                end_child()
            assert request is not None
            pipes.end_with_parent([file.path for file in request.files])
            pipes.send(write_files(layout, keys, request, pipes.send))
    except UserError as error:
        pipes.send(Refused(str(error)))
    except OSError as error:
        pipes.send(Refused(f"cannot write: {write_problem(error, 'choose another -o')}"))
    end_child()
