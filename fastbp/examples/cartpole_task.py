"""What `cartpole` and its double with PyTorch share: the constants of cart and learning, and what was played and learned."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

STEPS = 500  # of an episode, at most
DISCOUNT = 0.99
LEARNING_RATE = 0.01

GRAVITY, FORCE, SECONDS = 9.8, 10.0, 0.02  # m/s2, N, s a step
CART, POLE, HALF_LENGTH = 1.0, 0.1, 0.5  # kg, kg, m
MOST_PLACE, MOST_ANGLE, START = 2.4, math.radians(12), 0.05  # m, and the range of each number at the start


class Episodes(NamedTuple):
    """What was played, all episodes side by side."""

    states: np.ndarray  # (STEPS + 1, episodes, 4)
    went_right: np.ndarray  # (STEPS, episodes)
    lengths: np.ndarray  # (episodes,): steps played, the return of the episode


def room_for(episodes: int) -> Episodes:
    """Empty arrays for `episodes` episodes of at most STEPS steps."""
    states = np.zeros((STEPS + 1, episodes, 4), np.float32)
    return Episodes(states, np.zeros((STEPS, episodes), np.int64), np.zeros(episodes, np.int64))


class Outcome(NamedTuple):
    """What training came to."""

    returns: np.ndarray  # (updates,)
    steps: int
    seconds: float
