"""The verbs of `fastbp.engine` on one thread: for use inside a caller's own prange, thread pool or forked worker."""

from fastbp.engine import verbs

backward = verbs.backward.serial
evaluate = verbs.evaluate.serial
forward = verbs.forward.serial
predict = verbs.predict.serial
step = verbs.step.serial
train_epoch = verbs.train_epoch.serial
train_step = verbs.train_step.serial

__all__ = ["backward", "evaluate", "forward", "predict", "step", "train_epoch", "train_step"]
