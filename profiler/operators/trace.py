"""One prefill and one decode step as a Chrome trace, which Perfetto and chrome://tracing open.

Source: the Trace Event Format's complete ("X") and metadata ("M") events; times there are microseconds.
"""

from typing import Any

from profiler.operators.records import Observation, PhaseObservation
from profiler.operators.report import OperatorReport

_US = 1000  # nanoseconds
_GAP_US = 1000.0  # between the two phases
_NODES, _MODULES = 1, 2


def trace_of(observation: Observation, report: OperatorReport) -> dict[str, Any]:
    """Return the trace of the fastest observed run of each phase; times are raw, not corrected."""
    synthetic = " (synthetic weights)" if report.weights != "real" else ""
    events: list[dict[str, Any]] = [
        _named(
            "process_name",
            f"{report.model} {report.level}{synthetic}, {report.threads}",
            0,
        ),
        _named("thread_name", "nodes", _NODES),
        _named("thread_name", "modules", _MODULES),
    ]
    offset_us = 0.0
    for phase in (observation.prefill, observation.decode):
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


def _nodes(phase: PhaseObservation, took: tuple[int, ...], offset_us: float) -> list[dict[str, Any]]:
    events = []
    for group, start_ns, ns in zip(phase.groups, phase.start_ns, took, strict=True):
        start_us = offset_us + start_ns / _US
        event = _event(group.op, group.module, start_us, start_us + ns / _US, _NODES)
        arguments = {
            "node": group.name,
            "weight": group.weight,
            "type": group.weight_type,
            "layer": group.layer,
            "bytes": group.n_bytes,
            "flops": group.n_flops,
        }
        event["args"] = {key: value for key, value in arguments.items() if value is not None}
        events.append(event)
    return events


def _modules(phase: PhaseObservation, took: tuple[int, ...], offset_us: float) -> list[dict[str, Any]]:
    """Return a bar over consecutive nodes of one module in one layer."""
    events: list[dict[str, Any]] = []
    previous = None
    for group, start_ns, ns in zip(phase.groups, phase.start_ns, took, strict=True):
        start_us = offset_us + start_ns / _US
        end_us = start_us + ns / _US
        if (group.module, group.layer) == previous:
            events[-1]["dur"] = round(end_us - events[-1]["ts"], 3)
            continue
        previous = (group.module, group.layer)
        name = group.module if group.layer is None else f"{group.module} {group.layer}"
        events.append(_event(name, "module", start_us, end_us, _MODULES))
    return events
