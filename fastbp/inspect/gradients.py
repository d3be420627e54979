"""A network's gradients against central differences of its cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp import losses
from fastbp.network.network import Network


def check_gradients(net: Network, x: Any, y: Any, loss: Any, samples: int = 100) -> float:
    """Return the largest |gradient - central difference| / max(1, |gradient|, |difference|) over `samples` of the
    parameters.

    The parameters are spread evenly over the flat vector and left as they were; `net.gradients` holds the gradients. Made
    for float64, where a right gradient gives some 1e-8; dropout must be absent, or every pass draws another mask.
    """
    loss = losses.as_loss(loss)
    with net.turn.taken("check_gradients", within=True):
        net.state.refuse_read_only()
        output = net.forward(x)
        _, delta = loss(output, y)
        net.backward(delta)
        h = float(np.cbrt(np.finfo(net.dtype).eps))
        places = np.unique(np.linspace(0, net.parameters.size - 1, samples).astype(int))
        return max(_error(net, x, y, loss, i, h) for i in places)


def _error(net: Network, x: Any, y: Any, loss: losses.Loss, i: int, h: float) -> float:
    was, costs = net.parameters[i], []
    for shifted in (was + h, was - h):
        net.parameters[i] = shifted
        costs.append(loss(net.forward(x), y)[0])
    net.parameters[i] = was
    difference, gradient = (costs[0] - costs[1]) / (2 * h), float(net.gradients[i])
    return abs(gradient - difference) / max(1.0, abs(gradient), abs(difference))
