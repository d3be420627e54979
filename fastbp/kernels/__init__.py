"""Raw kernels: plain functions on float32 or float64 arrays of any strides, callable from Python and from `@njit`.

They may use all threads; `fastbp.kernels.serial` has the same functions, with the same bits, on one thread.
"""

from fastbp.kernels import serial
from fastbp.kernels.activations import activate, activation_delta
from fastbp.kernels.clipping import clip_by_norm, clip_by_value
from fastbp.kernels.dense import bias_gradient, dense_forward, propagate_delta, weight_gradient
from fastbp.kernels.losses import (
    binary_cross_entropy,
    huber,
    mean_absolute_error,
    mean_squared_error,
    negative_log_likelihood,
    poisson,
    quantile,
    softmax_cross_entropy,
)
from fastbp.kernels.optimizers import adagrad_step, adam_step, adamw_step, momentum_step, rmsprop_step, sgd_step
from fastbp.kernels.softmax import softmax

__all__ = [
    "activate",
    "activation_delta",
    "adagrad_step",
    "adam_step",
    "adamw_step",
    "bias_gradient",
    "binary_cross_entropy",
    "clip_by_norm",
    "clip_by_value",
    "dense_forward",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "momentum_step",
    "negative_log_likelihood",
    "poisson",
    "propagate_delta",
    "quantile",
    "rmsprop_step",
    "serial",
    "sgd_step",
    "softmax",
    "softmax_cross_entropy",
    "weight_gradient",
]
