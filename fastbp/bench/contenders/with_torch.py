"""PyTorch: a loop over the minibatches with a fused optimizer, eager or through torch.compile."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.bench.contenders import ADAM, Contender
from fastbp.bench.workload import Parameters, Workload


def eager(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    return training(work, parameters, x, y, lambda cost: cost)


def compiled(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray) -> Contender:
    import torch

    return training(work, parameters, x, y, torch.compile)


def training(work: Workload, parameters: Parameters, x: np.ndarray, y: np.ndarray, compile_: Any) -> Contender:
    """Return the Contender of a loop over minibatches; `compile_` is applied to its function cost(x, y)."""
    import torch

    layers = [linear(torch, weight, bias) for weight, bias in parameters]
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}[work.activation]
    chain = [module for layer in layers for module in (layer, activation())][:-1]
    net, loss = torch.nn.Sequential(*chain), torch.nn.CrossEntropyLoss()
    settings: dict[str, Any] = {"lr": work.learning_rate, "fused": True}
    if work.optimizer == "sgd":
        optimizer: Any = torch.optim.SGD(net.parameters(), **settings)
    else:
        optimizer = torch.optim.Adam(
            net.parameters(), betas=(ADAM["beta1"], ADAM["beta2"]), eps=ADAM["epsilon"], **settings
        )
    cost = compile_(lambda x, y: loss(net(x), y))
    batches = [t.split(work.batch_size) for t in (torch.from_numpy(x), torch.from_numpy(y))]

    def run() -> None:
        for rows, labels in zip(*batches, strict=True):
            optimizer.zero_grad()
            cost(rows, labels).backward()
            optimizer.step()

    def current() -> Parameters:
        return [tuple(p.detach().numpy().copy() for p in (layer.weight, layer.bias)) for layer in layers]

    return Contender(run, current)


def linear(torch: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
    layer = torch.nn.Linear(weight.shape[1], len(bias), dtype=torch.from_numpy(weight).dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
