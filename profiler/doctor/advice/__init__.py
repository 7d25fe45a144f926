"""Rules: what on a device would spoil a measurement, and the command that fixes it. Nothing is read or changed here.

clock.py   what throttles the clock or lets it vary
load.py    what else uses the CPU and the memory
build.py   how llama.cpp was built, and what rules its threads
"""

from collections.abc import Sequence

from profiler.doctor.advice import build, clock, load
from profiler.doctor.advice.finding import Finding, Seen

__all__ = ["Finding", "Seen", "advise"]


def advise(seen: Seen) -> list[Finding]:
    """Return the findings, warnings before notes."""
    found: Sequence[Finding | None] = [rule(seen) for rule in (*clock.RULES, *load.RULES, *build.RULES)]
    findings = [finding for finding in found if finding is not None]
    return sorted(findings, key=lambda finding: finding.severity != "warning")
