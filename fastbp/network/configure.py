"""Cost and optimizer written into the record that compiled code reads them from."""

from __future__ import annotations

import numpy as np
from numba import types

from fastbp import losses, optimizers
from fastbp.engine.memory import Training, set_fields
from fastbp.engine.table import NETWORK
from fastbp.gemm.isa import blocks_for
from fastbp.kernels.update_rules import rule_constants, update, update_pass


def configure(training: Training, loss: losses.Loss, optimizer: optimizers.Optimizer, dtype: str, fused: bool) -> None:
    configure_loss(training, loss, dtype)
    use_optimizer(training, optimizer, dtype, fused)


def configure_loss(training: Training, loss: losses.Loss, dtype: str) -> None:
    set_fields(
        training.network, NETWORK,
        loss=loss.code(dtype), loss_parameter=float(loss.parameter), loss_scale=float(loss.scale),
        takes_labels=int(loss.takes_labels), least_target=loss.domain.least, most_target=loss.domain.most,
        sum_tolerance=loss.domain.sum_tolerance,
    )  # fmt: skip


def use_optimizer(training: Training, optimizer: optimizers.Optimizer, dtype: str, fused: bool) -> None:
    *numbers, weight_decay = optimizer.numbers
    settings = {f"h{i}": float(numbers[i]) if i < len(numbers) else 0.0 for i in range(4)}
    set_fields(
        training.network, NETWORK,
        update=update.of(dtype, optimizer.rule).resolve(), update_pass=update_pass.of(dtype, optimizer.rule).resolve(),
        rule_constants=rule_constants.of(dtype, optimizer.rule).resolve(), fuses=int(fused),
        weight_decay=float(weight_decay), penalty=0.0,
        clip_norm=float(optimizer.clip_norm or np.inf), clip_value=float(optimizer.clip_value or np.inf), **settings,
    )  # fmt: skip
    training.learning_rate[0] = optimizer.schedule(np.zeros(1))[0]


def longest_sum(dtype: str) -> int:
    """Return how many terms of a product's sums are added in one block."""
    return blocks_for(getattr(types, dtype)).KC
