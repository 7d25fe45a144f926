"""Published results of other boards, drawn faintly behind one's own. Others measured them, not this program.

The data is edge_reference.csv next to this file: device, model, level, engine, setting, speeds, and for each line where
it was published. Parameters come from the registry, else from the model's name.
"""

import csv
import re
from collections.abc import Sequence
from importlib.resources import files

import msgspec
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plots.canvas.chart_input import Row
from plots.canvas.figures import MILLION
from plots.canvas.style import Style
from quant.sources.registry import lookup

_COLOUR = "#A8A8A8"
_MARKER = "."
# A size in a name: 0.5B, 135M, 1B1 (for 1.1B).
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([BM])(\d)?(?![A-Za-z0-9])", re.IGNORECASE)
_MS_PER_S = 1000


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One published result; None where it was not published. Of a range the middle is taken."""

    device: str
    model: str
    level: str
    engine: str
    source: str
    n_params: int
    prefill_tps: float | None
    decode_tps: float | None

    def ms(self, figure: str) -> float | None:
        """Return ms per token for a figure of the latency chart; None for first tokens, which vary by prompt."""
        tps = {"prefill_ms_per_token": self.prefill_tps, "decode_ms_per_token": self.decode_tps}.get(figure)
        return _MS_PER_S / tps if tps else None

    def row(self) -> Row:
        """Return its row for the chart's CSV file."""
        return {
            "model": self.model,
            "kind": "published",
            "n_params": self.n_params,
            "quant": self.level,
            "prefill_ms_per_token": self.ms("prefill_ms_per_token"),
            "decode_ms_per_token": self.ms("decode_ms_per_token"),
            "device": self.device,
            "engine": self.engine,
            "source": self.source,
        }


def published_lines(file_name: str) -> list[dict[str, str]]:
    """Return the lines of a table of published results, which is next to this file."""
    return list(csv.DictReader((files("plots.charts") / file_name).read_text(encoding="utf-8").splitlines()))


def load_published() -> list[Published]:
    """Read the published results whose model has a known size."""
    found = []
    for line in published_lines("edge_reference.csv"):
        if n_params := _n_params(line["model"]):
            found.append(
                Published(
                    **{name: line[name] for name in ("device", "model", "level", "engine", "source")},
                    n_params=n_params,
                    prefill_tps=_middle(line["prefill_tps"]),
                    decode_tps=_middle(line["decode_tps"]),
                )
            )
    return found


def _n_params(model: str) -> int | None:
    if spec := lookup(model):
        return spec.n_params
    sizes = _SIZE.findall(model)
    if not sizes:
        return None
    whole, unit, tenth = sizes[-1]
    return round(float(f"{whole}.{tenth}" if tenth else whole) * (1e9 if unit in "Bb" else 1e6))


def _middle(text: str) -> float | None:
    """Read a number, or the middle of a range like 25-30; None where there is none, or one per thread count."""
    if "/" in text:
        return None
    parts = [float(part) for part in re.findall(r"\d+(?:\.\d+)?", text)]
    return sum(parts) / len(parts) if parts else None


def draw_published(axis: Axes, published: Sequence[Published], figure: str, style: Style) -> list[Published]:
    """Draw them behind everything; return those that have this figure."""
    shown = [each for each in published if each.ms(figure)]
    axis.plot(
        [each.n_params / MILLION for each in shown],
        [each.ms(figure) or 0.0 for each in shown],
        linestyle="none",
        marker=_MARKER,
        color=_COLOUR,
        markersize=0.55 * style.font,
        zorder=1,
        label="published",
    )
    return shown


def published_key(shown: Sequence[Published]) -> list[Line2D]:
    """Return the legend's entry; none where nothing was drawn."""
    if not shown:
        return []
    return [Line2D([], [], linestyle="none", marker=_MARKER, color=_COLOUR, label="published, other boards")]


def published_note(shown: Sequence[Published]) -> list[str]:
    """Return what a caption must explain about the faint points."""
    if not shown:
        return []
    devices = sorted({each.device.split(" (")[0] for each in shown})
    others = f"results published by others for {', '.join(devices)}, of other engines, settings and levels"
    return [f"Grey points: {others}; the source of each is in the chart's CSV file."]
