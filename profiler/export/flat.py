"""JSON and CSV: one object or line per cell, the fields of CellSummary in their order."""

import csv
import io
from collections.abc import Sequence

import msgspec

from profiler.records.cell_summary import CellSummary
from quant.base.text import spaced

# A spreadsheet runs what begins with one of these, also where they are of full width.
# Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_json(summaries: Sequence[CellSummary]) -> str:
    """Write a flat list of objects; what does not apply is null."""
    return msgspec.json.format(msgspec.json.encode(list(summaries)), indent=1).decode() + "\n"


def to_csv(summaries: Sequence[CellSummary]) -> str:
    """Write one line per cell under a line of names; empty where nothing applies, lists joined by semicolons."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CellSummary.__struct_fields__)
    for summary in summaries:
        writer.writerow([csv_value(value) for value in msgspec.structs.astuple(summary)])
    return text.getvalue()


def csv_value(value: object) -> object:
    """Make a value safe for a spreadsheet: no formula, no second line, nothing where nothing applies."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(str(each) for each in value)
    if isinstance(value, str):
        # A carriage return alone would begin a new line: not every csv writer puts it in quotes.
        shown = spaced(value)
        return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
    return value
