"""Figure 10: which share of prefill and decode each part of the model has, over the published shares."""

from collections.abc import Sequence

from matplotlib.patches import Patch

from plots.canvas.chart_input import Picture, Row, ends
from plots.canvas.series import error_bars
from plots.canvas.sheet import finish, grid, name_panel
from plots.canvas.style import Style
from plots.survey.figures.models import COLOUR, FAINT
from plots.survey.published import DEVICE, SOURCE, published_shares
from plots.survey.records import Shares
from plots.survey.words import name_of

_PARTS = ("attention", "FFN", "LM head", "matrix products")


def operators_chart(shares: Sequence[Shares], words: str, style: Style) -> Picture | str:
    """Draw the figure, or return why there is none."""
    if not shares:
        return "operators were not timed"
    figure, axes = grid(style, len(shares), 2, panel=(1.9 * len(_PARTS) + 5) * style.font / 72)
    for axis, each in zip(axes, shares, strict=True):
        places = range(len(_PARTS))
        theirs = published_shares().get((each.model, each.phase), {})
        axis.barh([place + 0.22 for place in places], [100 * theirs.get(part, 0.0) for part in _PARTS], height=0.3,
                  color=FAINT, alpha=0.7, label="published")  # fmt: skip
        known = [(place, span) for place, part in enumerate(_PARTS) if (span := each.shares.get(part)) is not None]
        spans = [span for _, span in known]
        bars = [[100 * end for end in row] for row in error_bars(spans)]
        axis.barh([place - 0.15 for place, _ in known], [100 * span.value for span in spans], xerr=bars, height=0.38,
                  color=COLOUR, error_kw={"elinewidth": 0.8, "ecolor": "#222222"}, label="measured")  # fmt: skip
        axis.set_yticks(places, _PARTS)
        axis.set_ylim(len(_PARTS) - 0.4, -0.6)
        axis.set_xlim(0, 100)
        axis.set_xlabel("share of the time, %")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        name_panel(axis, f"{name_of(each.model)}, {each.phase}", style)
    finish(
        figure,
        style,
        title="Where the time goes",
        subtitle="synthetic weights",
        words="Shares of the observed runs; bars: 95 % interval of the median. Matrix products are in all three parts; "
        "norms, the KV cache and sums are the rest of the time. Grey: published for one "
        f"{DEVICE}, whose GPU kernels differ ({SOURCE}, figure 10). {words}",
        handles=[Patch(color=COLOUR, label="measured"), Patch(color=FAINT, alpha=0.7, label=f"published, {DEVICE}")],
    )
    return Picture(figure, _rows(shares))


def _rows(shares: Sequence[Shares]) -> list[Row]:
    own: list[Row] = [
        {
            "model": each.model,
            "kind": "measured",
            "phase": each.phase,
            "part": part,
            "runs": each.n_runs,
            "n_threads": each.n_threads,
            **ends("share", span),
        }
        for each in shares
        for part, span in each.shares.items()
    ]
    theirs: list[Row] = [
        {"model": model, "kind": "published", "phase": phase, "part": part, "share": share,
         "source": f"{SOURCE}, figure 10, {DEVICE}"}
        for (model, phase), found in published_shares().items()
        for part, share in found.items()
    ]  # fmt: skip
    return [*own, *theirs]
