"""The algorithm of `cartpole` as it is written with NumPy and PyTorch, called once a step: for its `--compare`.

All episodes of an update advance together, so that a call serves all of them.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import fastbp as fb
from fastbp.examples import cartpole_task as pole


def advance(before: np.ndarray, push_right: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Make one step of all carts (episodes, 4); returns which episodes go on."""
    place, speed, angle, spin = before.T
    sine, cosine = np.sin(angle), np.cos(angle)
    weight, mass = pole.POLE * pole.HALF_LENGTH, pole.CART + pole.POLE
    push = np.where(push_right, pole.FORCE, -pole.FORCE) + weight * spin * spin * sine
    inertia = pole.HALF_LENGTH * (4.0 / 3.0 - pole.POLE * cosine * cosine / mass)
    turn = (pole.GRAVITY * sine - cosine * push / mass) / inertia
    after[:, 0] = place + pole.SECONDS * speed
    after[:, 1] = speed + pole.SECONDS * (push - weight * turn * cosine) / mass
    after[:, 2] = angle + pole.SECONDS * spin
    after[:, 3] = spin + pole.SECONDS * turn
    return (np.abs(after[:, 0]) <= pole.MOST_PLACE) & (np.abs(after[:, 2]) <= pole.MOST_ANGLE)


def play(model: torch.nn.Module, played: pole.Episodes, rng: np.random.Generator) -> None:
    states, went_right, lengths = played
    states[0] = rng.uniform(-pole.START, pole.START, states[0].shape)
    lengths[:] = pole.STEPS
    on = np.ones(len(lengths), bool)
    for t in range(pole.STEPS):
        with torch.inference_mode():
            logits = model(torch.from_numpy(states[t])).numpy()
        chance = 1.0 / (1.0 + np.exp(logits[:, 0] - logits[:, 1]))
        went_right[t] = chance > rng.random(len(lengths))
        goes_on = advance(states[t], went_right[t], states[t + 1])
        lengths[on & ~goes_on] = t + 1
        on &= goes_on
        if not on.any():
            break


def advantages(lengths: np.ndarray) -> np.ndarray:
    left = np.maximum(lengths - np.arange(lengths.max())[:, None], 0)
    returns = (1.0 - pole.DISCOUNT**left) / (1.0 - pole.DISCOUNT)
    above = np.where(left > 0, returns - returns.sum(1, keepdims=True) / (left > 0).sum(1, keepdims=True), 0.0)
    return (above / (np.sqrt((above**2).sum() / lengths.sum()) + 1e-6)).astype(np.float32)


def update(model: torch.nn.Module, optimizer: torch.optim.Optimizer, played: pole.Episodes) -> None:
    longest, rows = played.lengths.max(), played.lengths.max() * len(played.lengths)
    actions = torch.from_numpy(played.went_right[:longest].reshape(rows, 1))
    advantage = torch.from_numpy(advantages(played.lengths).reshape(rows))
    logits = model(torch.from_numpy(played.states[:longest].reshape(rows, 4)))
    chances = torch.log_softmax(logits, dim=1).gather(1, actions)[:, 0]
    optimizer.zero_grad()
    (-(advantage * chances).sum() / float(played.lengths.sum())).backward()
    optimizer.step()


def model_of(net: fb.Sequential) -> torch.nn.Module:
    """Make a model with the weights of the network `policy`."""
    parts: list[torch.nn.Module] = []
    for layer in net.layers:
        assert isinstance(layer, fb.Dense)
        linear = torch.nn.Linear(layer.inputs, layer.outputs)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.weight))
            linear.bias.copy_(torch.from_numpy(layer.bias))
        parts += [linear, torch.nn.Tanh()]
    return torch.nn.Sequential(*parts[:-1])


def train(net: fb.Sequential, updates: int, episodes: int, seed: int) -> pole.Outcome:
    """Do what `cartpole.train` does, with a copy of the network."""
    model, rng, played = model_of(net), np.random.default_rng(seed), pole.room_for(episodes)
    optimizer = torch.optim.Adam(model.parameters(), lr=pole.LEARNING_RATE)
    returns, steps = np.zeros(updates), 0
    began = time.perf_counter()
    for i in range(updates):
        play(model, played, rng)
        update(model, optimizer, played)
        returns[i] = played.lengths.mean()
        steps += int(played.lengths.sum())
    return pole.Outcome(returns, steps, time.perf_counter() - began)
