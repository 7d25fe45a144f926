"""One prefill and one decode step as a Chrome trace, which Perfetto and chrome://tracing open.

Source: the Trace Event Format's complete ("X") and metadata ("M") events; times there are microseconds.
"""

from typing import Any

from profiler.operators.records import PhaseSeen, Seen
from profiler.operators.report import Report

_US = 1000  # nanoseconds
_GAP_US = 1000.0  # between the two phases, so that they are told apart
_NODES, _MODULES = 1, 2


def trace_of(seen: Seen, report: Report) -> dict[str, Any]:
    """Give the trace of the least disturbed observed run of each phase; times are as they were seen, uncorrected."""
    made_up = " (synthetic weights)" if report.weights != "real" else ""
    events: list[dict[str, Any]] = [
        _named(
            "process_name",
            f"{report.model} {report.level}{made_up}, {report.n_threads} thread{'' if report.n_threads == 1 else 's'}",
            0,
        ),
        _named("thread_name", "nodes", _NODES),
        _named("thread_name", "modules", _MODULES),
    ]
    offset_us = 0.0
    for phase in (seen.prefill, seen.decode):
        took = min(phase.group_ns, key=sum)
        events += _nodes(phase, took, offset_us)
        events += _modules(phase, took, offset_us)
        offset_us += (phase.start_ns[-1] + took[-1]) / _US + _GAP_US
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _named(what: str, name: str, thread: int) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}


def _event(name: str, category: str, start_us: float, end_us: float, thread: int) -> dict[str, Any]:
    times = {"ts": round(start_us, 3), "dur": round(end_us - start_us, 3)}
    return {"name": name, "cat": category, "ph": "X", **times, "pid": 1, "tid": thread}


def _nodes(phase: PhaseSeen, took: tuple[int, ...], offset_us: float) -> list[dict[str, Any]]:
    events = []
    for group, start_ns, ns in zip(phase.groups, phase.start_ns, took, strict=True):
        start_us = offset_us + start_ns / _US
        event = _event(group.op, group.module, start_us, start_us + ns / _US, _NODES)
        told = {
            "node": group.name,
            "weight": group.weight,
            "type": group.weight_type,
            "layer": group.layer,
            "bytes": group.n_bytes,
            "flops": group.n_flops,
        }
        event["args"] = {key: value for key, value in told.items() if value is not None}
        events.append(event)
    return events


def _modules(phase: PhaseSeen, took: tuple[int, ...], offset_us: float) -> list[dict[str, Any]]:
    """Draw a bar over each row of nodes of one module in one layer."""
    events: list[dict[str, Any]] = []
    before = None
    for group, start_ns, ns in zip(phase.groups, phase.start_ns, took, strict=True):
        start_us = offset_us + start_ns / _US
        end_us = start_us + ns / _US
        if (group.module, group.layer) == before:
            events[-1]["dur"] = round(end_us - events[-1]["ts"], 3)
            continue
        before = (group.module, group.layer)
        name = group.module if group.layer is None else f"{group.module} {group.layer}"
        events.append(_event(name, "module", start_us, end_us, _MODULES))
    return events
