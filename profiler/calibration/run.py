"""Calibrate this device in a process of its own."""

import tempfile
import time

import msgspec

from profiler.calibration.keep import keep_calibration
from profiler.calibration.worker import Job, Times
from profiler.records.calibration import Calibration
from quant.base.child import run_child
from quant.base.errors import UserError
from quant.base.text import message_line
from quant.base.units import format_bytes, utc_now

_LEAST_BYTES = 1 << 30  # the largest kernel has its weights twice for a moment, beside the process
_TIMES_BUDGET = 4  # after which the process is ended: a step of it may hang, not only be slow


def calibrate(
    env_id: str, threads: tuple[int, ...], *, repack: bool, budget_s: float, available_bytes: int
) -> Calibration:
    """Time this device's operations, keep what was found, and return it.

    Raises:
        UserError: too little memory is available, the budget is too short for a prediction, or the process failed.
    """
    if available_bytes < _LEAST_BYTES:
        raise UserError(
            f"calibrating needs {format_bytes(_LEAST_BYTES)} of memory, {format_bytes(available_bytes)} are available; "
            "close programs"
        )
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slmprof.") as scratch:
        job = Job(threads=threads, repack=repack, budget_s=budget_s, scratch=scratch)
        times = _run(job)
        if not times.nodes:
            raise UserError(f"{budget_s:g} s did not suffice for all operations; raise --budget, or give fewer -t")
    calibration = Calibration(
        env_id=env_id,
        measured_at=utc_now(),
        took_s=time.monotonic() - started_s,
        products=tuple(times.products),
        nodes=tuple(times.nodes),
        yardsticks=tuple(times.yardsticks),
    )
    keep_calibration(calibration)
    return calibration


def _run(job: Job) -> Times:
    output, ending = run_child("profiler.calibration.worker", job, timeout_s=_TIMES_BUDGET * job.budget_s + 60)
    try:
        return msgspec.json.decode(output, type=Times)
    except msgspec.DecodeError as error:
        reason = (
            "it took too long" if ending.timed_out else message_line(ending.error_line) or f"status {ending.status}"
        )
        raise UserError(f"this device could not be calibrated: {reason}; close programs and try again") from error
