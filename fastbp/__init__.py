"""Backpropagation over a whole minibatch at the limit of the CPU, from Python and from inside `@njit` code."""

from fastbp import _former, activations, callbacks, engine, kernels, losses, optimizers, plot, schedules
from fastbp._version import __version__
from fastbp.activations import Activation
from fastbp.callbacks import Callback, EarlyStopping
from fastbp.callbacks.checkpoint import Checkpoint
from fastbp.callbacks.optuna import OptunaPruning
from fastbp.callbacks.tensorboard import TensorBoard
from fastbp.inspect.gradients import check_gradients
from fastbp.inspect.report import Explanation
from fastbp.inspect.versions import show_versions
from fastbp.layers import Custom, Dense, Dropout, Scale
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from fastbp.sequential import Sequential
from fastbp.training.history import History
from fastbp.training.many import fit_many

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Callback",
    "Checkpoint",
    "Custom",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Explanation",
    "History",
    "OptunaPruning",
    "RMSprop",
    "Scale",
    "Sequential",
    "TensorBoard",
    "__version__",
    "activations",
    "callbacks",
    "check_gradients",
    "engine",
    "fit_many",
    "kernels",
    "losses",
    "optimizers",
    "plot",
    "schedules",
    "show_versions",
]

_former.install()
