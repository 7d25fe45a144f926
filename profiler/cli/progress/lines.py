"""A sweep in a log: one line per finished round."""

from profiler.cli.progress.state import describe_result
from profiler.cli.progress.view import SweepView
from profiler.records.round import Round
from quant.base.units import format_duration


class LineView(SweepView):
    """One line per finished round."""

    def show_start(self) -> None:
        """Write the number of rounds."""
        before = f", {self.state.n_before} done before" if self.state.n_before else ""
        self.say(f"{self.state.n_turns} rounds to measure{before}")

    def show_round(self, record: Round) -> None:
        """Write a round's speeds, or why it has none."""
        state = self.state
        left = f" ({format_duration(state.left_s)} left)" if state.left_s else ""
        self.say(f"[{state.n_over}/{state.n_turns}] {state.now}: {describe_result(record)}{left}")
