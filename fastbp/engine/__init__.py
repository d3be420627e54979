"""A network's verbs for compiled code, callable from Python and from `@njit`; `engine.serial` never starts a thread."""

from fastbp.engine import serial
from fastbp.engine.verbs import backward, evaluate, forward, predict, step, train_epoch, train_step

__all__ = ["backward", "evaluate", "forward", "predict", "serial", "step", "train_epoch", "train_step"]
