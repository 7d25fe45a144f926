"""A pick as a race: who was measured when, who was eliminated when, and why."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from plots.canvas.chart_input import Picture, Row
from plots.canvas.sheet import finish, sheet
from plots.canvas.style import LEVEL_COLOURS, Style, fitted
from plots.canvas.text_width import shortened
from profiler.pick.records import Elimination
from profiler.pick.session import Event, Pick
from quant.base.text import counted

_OTHER = "#777777"
_FAINT, _OUT = "#BBBBBB", "#B00020"
_REASON_SHARE = 0.5  # of the figure's width, for the reasons
_NOTES = (
    "One line is one level with its threads, from left to right in the order of measurements. Dots: rounds (hollow: "
    "disturbed); diamonds: windows of text scored for the level's KLD; cross: out of the race; star: the choice; "
    "triangle: as good as the choice."
)


class Lane(NamedTuple):
    """One line of the chart."""

    name: str
    level: str
    keys: tuple[str, ...]  # several of a level where they went out together, unmeasured
    end: int  # the step of its elimination, or the last step
    out: Elimination | None


def race_chart(pick: Pick, style: Style) -> Picture | str:
    """Draw one pick, or return why it is not drawn."""
    if not pick.events:
        return "nothing was measured"
    style = fitted(style, 2)
    lanes = lanes_of(pick)
    line_in = 1.7 * style.font / 72
    figure, (axis,) = sheet(style, 1, panel=line_in * (len(lanes) + 1) + 0.4)
    rows: list[Row] = []
    for place, lane in enumerate(lanes):
        rows += _draw_lane(axis, place, lane, pick, style)
    n_steps = len(pick.events)
    axis.set_xlim(0, n_steps + 0.6)
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    axis.set_yticks(range(len(lanes)), [shortened(lane.name, 1.6, style.font - 1) for lane in lanes])
    axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axis.grid(visible=False)
    axis.grid(visible=True, axis="x")
    axis.set_xlabel("measurement, in the order of time")
    synthetic = "synthetic weights" if pick.candidates.synthetic else ""
    title = f"The race: {pick.candidates.model}"
    state = "" if pick.verdict.decided else " The race is not decided yet: the star is the best answer so far."
    finish(figure, style, title=shortened(title, 0.9 * figure.get_figwidth(), style.font + 1), subtitle=synthetic,
           words=_NOTES + state, handles=[])  # fmt: skip
    return Picture(figure, rows)


def lanes_of(pick: Pick) -> list[Lane]:
    """Return the lines from top to bottom: the choice, those that are open, then the last to be eliminated first."""
    out = {each.key: each for each in pick.verdict.eliminated}
    measured = {event.key for event in pick.events}
    lanes: dict[tuple[object, ...], Lane] = {}
    for entry in pick.candidates.entries:
        gone = out.get(entry.key)
        alike: tuple[object, ...] = (entry.key,)
        if gone is not None and entry.key not in measured:
            alike = (entry.level, gone.at_step, gone.by, gone.why)
        first = lanes.get(alike)
        name = f"{entry.level} t{', '.join(_threads(key) for key in (*first.keys, entry.key))}" if first else entry.key
        keys = (*first.keys, entry.key) if first else (entry.key,)
        lanes[alike] = Lane(name, entry.level, keys, gone.at_step if gone else len(pick.events), gone)
    speeds = {each.key: each.relative or 0.0 for each in pick.verdict.standings}
    ahead = dict.fromkeys(pick.verdict.tied, 1) | {pick.verdict.chosen: 2}
    return sorted(
        lanes.values(),
        key=lambda lane: (-ahead.get(lane.name, 0), lane.out is not None, -lane.end, -speeds.get(lane.name, 0.0)),
    )


def _threads(key: str) -> str:
    return key.rpartition(" t")[2]


def _draw_lane(axis: Axes, place: int, lane: Lane, pick: Pick, style: Style) -> list[Row]:
    chosen, n_steps = lane.name == pick.verdict.chosen, len(pick.events)
    colour = LEVEL_COLOURS.get(lane.level.split(" ")[0], _OTHER)
    axis.plot([0, lane.end], [place, place], color=colour if chosen else _FAINT, marker="",
              linewidth=(2.2 if chosen else 0.9) * style.line, zorder=2)  # fmt: skip
    rows: list[Row] = []
    for event in pick.events:
        # What is measured at the step of an elimination came before it.
        if event.level == lane.level and event.key in (None, *lane.keys) and event.step <= max(lane.end, 1):
            _draw_event(axis, place, event, colour, style)
            rows.append(_row(lane, event))
    text = _ending(lane, pick)
    is_tie = lane.name in pick.verdict.tied
    mark = "*" if chosen else "^" if is_tie else "x" if lane.out else ""
    if mark:
        axis.plot([lane.end if lane.out else n_steps], [place], marker=mark, linestyle="none",
                  color=_OUT if mark == "x" else colour, markersize=(1.2 if chosen else 0.7) * style.font,
                  markeredgewidth=1.6 if mark == "x" else 0.6, zorder=5, clip_on=False)  # fmt: skip
    room_in = _REASON_SHARE * style.page
    axis.text(1.02, place, shortened(text, room_in, style.font - 1.5), transform=axis.get_yaxis_transform(),
              va="center", ha="left", fontsize=style.font - 1.5, color="#000000" if chosen else "#444444",
              fontweight="bold" if chosen else "normal")  # fmt: skip
    ended: Row = {"key": lane.name, "level": lane.level, "what": "out" if lane.out else "chosen" if chosen else
                  "tie" if is_tie else "open", "step": lane.end}  # fmt: skip
    if lane.out:
        ended |= {"by": lane.out.by, "why": lane.out.why, "rounds": lane.out.after_rounds}
    return [*rows, ended]


def _draw_event(axis: Axes, place: int, event: Event, colour: str, style: Style) -> None:
    if event.failure is not None:
        return
    is_round = event.observed is not None
    hollow = event.observed is not None and event.observed.disturbed
    axis.plot([event.step], [place], marker="o" if is_round else "D", linestyle="none",
              markersize=(0.5 if is_round else 0.4) * style.font, color=colour,
              markerfacecolor="white" if hollow else colour, markeredgewidth=0.9, zorder=4)  # fmt: skip


def _row(lane: Lane, event: Event) -> Row:
    row: Row = {"key": lane.name, "level": lane.level, "step": event.step}
    if event.failure is not None:
        return row | {"what": "failure", "why": event.failure}
    if event.observed is None:
        return row | {"what": "windows", "kld": event.kld, "windows": event.n_windows}
    observed = event.observed
    return row | {"what": "round", "decode_tps": observed.decode_tps, "prefill_tps": observed.prefill_tps,
                  "ttft_ms": observed.ttft_ms, "disturbed": observed.disturbed}  # fmt: skip


def _ending(lane: Lane, pick: Pick) -> str:
    """Return in words how a line ends."""
    if lane.out is not None:
        return f"{lane.out.by}: {lane.out.why}"
    n_rounds = _n_rounds(pick.events, lane.name)
    rounds = counted(n_rounds, "round")
    if lane.name == pick.verdict.chosen:
        return f"chosen after {rounds}" if pick.verdict.decided else f"the best so far, after {rounds}"
    standing = next((each for each in pick.verdict.standings if each.key == lane.name), None)
    speed = f", {100 * standing.relative:.0f} % of the fastest" if standing and standing.relative else ""
    return f"{'a tie' if lane.name in pick.verdict.tied else 'open'} after {rounds}{speed}"


def _n_rounds(events: Sequence[Event], key: str) -> int:
    return sum(event.key == key and event.observed is not None for event in events)
