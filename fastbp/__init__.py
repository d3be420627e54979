"""Backpropagation over a whole minibatch at the limit of the CPU, from Python and from inside `@njit` code."""

from fastbp import activations, callbacks, engine, kernels, losses, optimizers, plot, schedules
from fastbp._version import __version__
from fastbp.activations import Activation
from fastbp.callbacks import Callback, EarlyStopping
from fastbp.check_gradients import check_gradients
from fastbp.checkpoints import Checkpoint
from fastbp.explanation import Explanation
from fastbp.history import History
from fastbp.layers import Custom, Dense, Dropout
from fastbp.many import fit_many
from fastbp.model import Sequential
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from fastbp.pruning import OptunaPruning
from fastbp.tensorboard import TensorBoard
from fastbp.versions import show_versions

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
