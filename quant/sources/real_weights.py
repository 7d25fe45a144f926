"""What is measured of a model's abilities needs real weights."""

from collections.abc import Sequence

from quant.base.errors import UserError
from quant.sources.prepare import Prepared


def refuse_synthetic(files: Sequence[Prepared]) -> None:
    """Check that all weights are real.

    Raises:
        UserError: a file's weights are synthetic.
    """
    for file in files:
        if file.artifact.weights == "synthetic":
            raise refusal(file.artifact.model)


def refusal(name: str) -> UserError:
    """Return the error for synthetic weights."""
    return UserError(
        f"{name}: synthetic weights are random numbers, so there is no quality to lose; use a real checkpoint"
    )
