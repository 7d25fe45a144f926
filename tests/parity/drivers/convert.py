"""Run llama.cpp's converter on many checkpoints, with one answer replaced: the pre-tokenizer's name.

A home-trained tokenizer has no hash in its table, so both sides are given the same name.
Usage: convert.py LLAMA_CPP JOBS.json, a list of {"pre", "checkpoint", "target", "outtype"}
"""

import json
import logging
import runpy
import sys
import traceback
from pathlib import Path

llama_cpp = Path(sys.argv[1])
jobs = json.loads(Path(sys.argv[2]).read_text())
sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]

from conversion.base import TextModel  # noqa: E402

failed = False
for job in jobs:
    TextModel.get_vocab_base_pre = lambda self, tokenizer, name=job["pre"]: name
    sys.argv = [
        *(str(llama_cpp / "convert_hf_to_gguf.py"), job["checkpoint"]),
        *("--outfile", job["target"], "--outtype", job["outtype"]),
    ]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except (Exception, SystemExit) as error:  # noqa: BLE001  one failure must not hide the others
        if isinstance(error, SystemExit) and not error.code:
            continue
        failed = True
        traceback.print_exc(limit=-3)
        print(f"{job['checkpoint']} to {job['outtype']}: {error!r}", file=sys.stderr)
    finally:
        logging.getLogger().handlers.clear()
sys.exit(failed)
