"""The records of results.jsonl. Raw observations only: rates, means and percentiles are derived when they are read.

One JSON object per line; `type` is the kind of record. Lines may be concatenated from several files.
"""

from profiler.records.environment import Environment
from profiler.records.quality import QualityRecord
from profiler.records.round import AnchorRound, Round
from profiler.records.task import TaskRecord
from quant.gguf_io.artifact import Artifact

Record = Environment | Artifact | Round | AnchorRound | QualityRecord | TaskRecord
