"""Reinforcement learning as one compiled function: a network learns to balance a pole on a cart.

    python -m fastbp.examples.cartpole

`learn` simulates the carts, samples actions, computes the policy gradient and trains the network, all in machine code:
REINFORCE (Williams 1992) with the mean return of the moment as baseline. The cart and pole are those of Barto, Sutton &
Anderson (1983): push left or right, fifty times a second; a reward of 1 for each step until the pole leans more than
12 degrees, the cart is 2.4 m from the middle, or 500 steps are made.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Sequence

import numpy as np
from numba import njit

import fastbp as fb
from fastbp import engine
from fastbp.engine.memory import Training
from fastbp.examples.cartpole_task import (
    CART,
    DISCOUNT,
    FORCE,
    GRAVITY,
    HALF_LENGTH,
    LEARNING_RATE,
    MOST_ANGLE,
    MOST_PLACE,
    POLE,
    SECONDS,
    START,
    STEPS,
    Outcome,
    room_for,
)

TEST_EPISODES = 100


# ------------------------------------------------------------------------------------------------ the cart and the pole


@njit
def begin(state):
    """Place a cart near the middle, its pole near upright; state: place, speed, angle, angular speed."""
    for i in range(4):
        state[i] = np.random.uniform(-START, START)


@njit
def advance(before, push_right, after):
    """Make one step of Euler's method on the equations of motion, without friction; returns whether the episode goes on."""
    place, speed, angle, spin = before
    sine, cosine = math.sin(angle), math.cos(angle)
    push = (FORCE if push_right else -FORCE) + POLE * HALF_LENGTH * spin * spin * sine
    mass = CART + POLE
    turn = (GRAVITY * sine - cosine * push / mass) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cosine * cosine / mass))
    after[0] = place + SECONDS * speed
    after[1] = speed + SECONDS * (push - POLE * HALF_LENGTH * turn * cosine) / mass
    after[2] = angle + SECONDS * spin
    after[3] = spin + SECONDS * turn
    return abs(after[0]) <= MOST_PLACE and abs(after[2]) <= MOST_ANGLE


# ------------------------------------------------------------------------------------------------------------- learning


@njit
def chance_of_right(logits):
    return 1.0 / (1.0 + math.exp(logits[0] - logits[1]))


@njit
def play(training, played, greedy):
    """Play all episodes at once, an action at a time from one forward pass for all of them."""
    states, went_right, lengths = played
    episodes = len(lengths)
    logits = np.empty((episodes, 2), np.float32)
    lengths[:] = STEPS
    for e in range(episodes):
        begin(states[0, e])
    for t in range(STEPS):
        if lengths.max() <= t:
            break
        engine.predict(training, states[t], logits)
        for e in range(episodes):
            if t < lengths[e]:
                went_right[t, e] = chance_of_right(logits[e]) > (0.5 if greedy else np.random.random())
                if not advance(states[t, e], went_right[t, e], states[t + 1, e]):
                    lengths[e] = t + 1


@njit
def advantages(lengths, out):
    """Compute by how many standard deviations each step's discounted return is above the mean of the episodes still running.

    It is 0 for steps after the end of an episode.
    """
    squares = 0.0
    for t in range(len(out)):
        left = np.maximum(lengths - t, 0)
        total = 0.0
        for e in range(len(left)):
            out[t, e] = (1.0 - DISCOUNT ** left[e]) / (1.0 - DISCOUNT)  # 1 + DISCOUNT + ... of the `left` steps
            total += out[t, e]
        mean = total / (left > 0).sum()
        for e in range(len(left)):
            out[t, e] = out[t, e] - mean if left[e] > 0 else 0.0
            squares += out[t, e] ** 2
    out /= math.sqrt(squares / lengths.sum()) + 1e-6


@njit
def policy_gradient(logits, went_right, advantage, steps):
    """Return dC/d(logits) of C = -sum(advantage * log(chance of what was done)) / steps."""
    delta = np.empty_like(logits)
    for i in range(len(logits)):
        delta[i, 1] = (chance_of_right(logits[i]) - went_right[i]) * advantage[i] / steps
        delta[i, 0] = -delta[i, 1]
    return delta


@njit
def learn(training, played, seed, returns):
    """Update the network once for each place in `returns`, which gets the mean return of the episodes played for it.

    Returns the number of steps played.
    """
    np.random.seed(seed)
    states, went_right, lengths = played
    steps = 0
    for update in range(len(returns)):
        play(training, played, False)
        longest, rows = lengths.max(), lengths.max() * len(lengths)
        advantage = np.empty((longest, len(lengths)), np.float32)
        advantages(lengths, advantage)
        logits = engine.forward(training, states[:longest].reshape(rows, 4))
        actions = went_right[:longest].reshape(rows)
        engine.backward(training, policy_gradient(logits, actions, advantage.reshape(rows), lengths.sum()))
        engine.step(training)
        returns[update] = lengths.mean()
        steps += lengths.sum()
    return steps


@njit
def test(training, played, seed):
    """Return the mean return of episodes in which the network always does what it thinks best."""
    np.random.seed(seed)
    play(training, played, True)
    return played.lengths.mean()


# ---------------------------------------------------------------------------------------------------------- the program


def policy(seed: int) -> fb.Sequential:
    """Make a network from the state of a cart to the logits of left and right."""
    return fb.Sequential(fb.Dense(4, 32, "tanh"), fb.Dense(32, 32, "tanh"), fb.Dense(32, 2), seed=seed)


def training_of(net: fb.Sequential, episodes: int) -> Training:
    """Return the network's training; its cost is not used, since `learn` makes its own delta."""
    return net.training("softmax_cross_entropy", fb.Adam(LEARNING_RATE), batch_size=STEPS * episodes)


def train(net: fb.Sequential, updates: int, episodes: int, seed: int) -> Outcome:
    """Run `learn` and time it."""
    training, played, returns = training_of(net, episodes), room_for(episodes), np.zeros(updates)
    began = time.perf_counter()
    steps = learn(training, played, seed, returns)
    return Outcome(returns, steps, time.perf_counter() - began)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m fastbp.examples.cartpole", description=(__doc__ or "").split("\n")[0]
    )
    result.add_argument("--updates", type=_count, default=60, metavar="N", help="of the network (%(default)s)")
    result.add_argument("--episodes", type=_count, default=32, metavar="N", help="played for an update (%(default)s)")
    result.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, carts and actions (%(default)s)")
    result.add_argument("--compare", action="store_true", help="do the same with PyTorch, called once a step")
    return result


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an integer of at least 1")
    return int(text)


def report(name: str, outcome: Outcome) -> None:
    returns, steps, seconds = outcome
    for update in range(0, len(returns), max(1, len(returns) // 6)):
        print(f"  update {update + 1:3d}: mean return {returns[update]:5.1f}")
    print(f"{name}: {len(returns)} updates, {steps:,d} steps in {seconds:.2f} s: "
          f"{len(returns) / seconds:.0f} updates/s, {steps / seconds:,.0f} steps/s")  # fmt: skip


def compare(options: argparse.Namespace, own: Outcome) -> None:
    """Train with PyTorch from the same initial weights, where it is installed, and print how long it takes."""
    if importlib.util.find_spec("torch") is None:
        print("PyTorch: skipped, it is not installed: pip install torch")
        return
    from fastbp.examples import cartpole_torch

    other = cartpole_torch.train(policy(options.seed), options.updates, options.episodes, options.seed)
    report("PyTorch", other)
    ratio = (other.seconds / other.steps) / (own.seconds / own.steps)
    print(f"PyTorch takes {ratio:.1f} times as long for a step, its share of the updates included")


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    began = time.perf_counter()
    train(policy(0), 0, options.episodes, 0)
    print(f"compiled in {time.perf_counter() - began:.1f} s")
    net = policy(options.seed)
    own = train(net, options.updates, options.episodes, options.seed)
    report("fastbp", own)
    mean = test(training_of(net, TEST_EPISODES), room_for(TEST_EPISODES), options.seed + 1)
    print(f"test: mean return {mean:.1f} of {STEPS} over {TEST_EPISODES} episodes")
    if options.compare:
        compare(options, own)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
