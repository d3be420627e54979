"""The raw kernels on one thread: for use inside a prange, thread pool or forked worker of the caller's."""

from fastbp.kernels import activations, clipping, dense, losses, optimizers, softmax

activate = activations.activate.serial
activation_delta = activations.activation_delta.serial
adagrad_step = optimizers.adagrad_step.serial
adam_step = optimizers.adam_step.serial
adamw_step = optimizers.adamw_step.serial
bias_gradient = dense.bias_gradient.serial
binary_cross_entropy = losses.binary_cross_entropy.serial
clip_by_norm = clipping.clip_by_norm.serial
clip_by_value = clipping.clip_by_value.serial
dense_forward = dense.dense_forward.serial
huber = losses.huber.serial
mean_absolute_error = losses.mean_absolute_error.serial
mean_squared_error = losses.mean_squared_error.serial
momentum_step = optimizers.momentum_step.serial
negative_log_likelihood = losses.negative_log_likelihood.serial
poisson = losses.poisson.serial
propagate_delta = dense.propagate_delta.serial
quantile = losses.quantile.serial
rmsprop_step = optimizers.rmsprop_step.serial
sgd_step = optimizers.sgd_step.serial
softmax = softmax.softmax.serial
softmax_cross_entropy = losses.softmax_cross_entropy.serial
weight_gradient = dense.weight_gradient.serial

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
    "sgd_step",
    "softmax",
    "softmax_cross_entropy",
    "weight_gradient",
]
