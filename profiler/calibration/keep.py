"""Calibrations, kept with the environment's id."""

from profiler.records.calibration import Calibration
from quant.base.kept import KeptJson


def load_calibration(env_id: str) -> Calibration | None:
    """Return what `slmprof calibrate` measured in this environment; None where it did not run."""
    found = _kept(env_id).read()
    is_whole = found is not None and found.env_id == env_id and bool(found.products) and bool(found.nodes)
    return found if is_whole else None


def keep_calibration(calibration: Calibration) -> None:
    """Keep a calibration for later predictions, in the place of an older one.

    Raises:
        UserError: the cache folder cannot be written.
    """
    _kept(calibration.env_id).write(calibration)


def is_stale(env_id: str) -> bool:
    """Return whether calibrations are there of other environments only: another llama.cpp, kernel or governor."""
    return load_calibration(env_id) is None and any(_kept(env_id).path.parent.glob("*.json"))


def _kept(env_id: str) -> KeptJson[Calibration]:
    return KeptJson(f"calibration/{env_id}.json", Calibration)
