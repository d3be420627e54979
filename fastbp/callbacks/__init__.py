"""Callbacks, which run between the epochs of a fit: early stopping, checkpoints, the progress bar, and functions of users."""

from fastbp.callbacks.base import Callback, as_callbacks, end_fit, latest
from fastbp.callbacks.early_stopping import EarlyStopping
from fastbp.callbacks.progress import Progress

__all__ = ["Callback", "EarlyStopping", "Progress", "as_callbacks", "end_fit", "latest"]
