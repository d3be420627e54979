"""Whether the steps of a fit are shared among threads: by what they take, which nobody can know ahead.

Two threads may sit on one core (hyperthreads, virtual machines, other programs at work), and then one alone is faster. Shared
or not the bits are the same, so a short call now and then tries the other way.
"""

from __future__ import annotations

TRIAL_SECONDS = 3e-3  # what a trial aims at
FIRST_TRIAL, BETWEEN_TRIALS = 0.02, 0.5  # seconds of training
MOST_SPENT = 0.005  # the share of the time that trials may take
GAIN = 0.97  # the other way must take less than this share of the time


class Pace:
    """How one network has trained so far with one batch size."""

    def __init__(self, shares: bool = True) -> None:
        self.shares, self.tries = shares, False  # what is usual; whether the call at hand is a trial
        self.usual = 0.0  # seconds a step
        self.until_trial = FIRST_TRIAL

    def plan(self, steps: int) -> tuple[bool, int]:
        """(whether to share the next call, how many of so many steps to make in it)."""
        self.tries = self.usual > 0 and self.until_trial <= 0
        if not self.tries:
            return self.shares, steps
        return not self.shares, max(1, min(steps, int(TRIAL_SECONDS / self.usual)))

    def note(self, steps: int, seconds: float) -> None:
        """What the call that was planned last took."""
        if not self.tries:
            self.usual, self.until_trial = seconds / steps, self.until_trial - seconds
            return
        self.until_trial = max(BETWEEN_TRIALS, seconds / MOST_SPENT)
        if seconds / steps < GAIN * self.usual:
            self.shares, self.usual = not self.shares, seconds / steps
