"""What all charts of one call share: sizes, the look of each level, and what captions may leave to the report."""

from collections.abc import Mapping

import msgspec

from plots.canvas.style import Dash, Look, Marker, Style, markers_of
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """How charts are drawn.

    `markers` are by family; `in_report` where the report's top describes device, workload and rounds for all charts.
    """

    style: Style
    looks: Mapping[str, Look]
    markers: Mapping[str, Marker] = {}
    environments: Mapping[str, Environment] = {}
    in_report: bool = False

    def look_of(self, cell: CellSummary) -> Look:
        """Return the look of a cell's level."""
        return self.looks[cell.artifact.level]

    def marker_of(self, arch: str) -> Marker:
        """Return a family's marker."""
        return self.markers.get(arch) or markers_of([arch])[arch]

    def dash_of(self, cell: CellSummary) -> Dash:
        """Return a cell's line: estimates are dashed whatever their level."""
        return "--" if cell.kind == "estimated" else self.look_of(cell).dash
