"""A network below its face: layers lowered to the table of the engine, and what is done to one minibatch or to rows at hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastbp import losses, optimizers
from fastbp.attributes import Declared, fixed, setting
from fastbp.checks import dictionary, whole_number
from fastbp.data import convert, mapped
from fastbp.data.parameters import copy_in
from fastbp.engine.by_hand import backward_minibatch, forward_minibatch
from fastbp.engine.infer import predict_slice
from fastbp.engine.memory import Training
from fastbp.engine.small_predict import small_predictor
from fastbp.engine.walk import update
from fastbp.network.blocks import Description, raise_from, slice_block
from fastbp.network.chain import check_loss, checked_dtype, checked_layers, checked_seed, joined
from fastbp.network.configure import configure, longest_sum, use_optimizer
from fastbp.network.sharing import PREDICT_ROWS, Sharing, region_for_vector
from fastbp.network.state import State, check_writable, former_state
from fastbp.network.workspaces import Workspaces
from fastbp.parallel.turns import Turn

BY_HAND, INFERENCE, UPDATE = "by hand", "inference", "update"  # purposes of workspaces


class SmallPredict(NamedTuple):
    """How `predict` computes a few rows of one dtype."""

    predict: Callable[[int, np.ndarray], np.ndarray | None]
    network: int  # an address in `training`, which must live as long
    training: Training


class Network(Declared):
    """A chain of layers as compiled code sees it: parameters and gradients, one step by hand, predictions.

    See `fastbp.Sequential`, which adds what is done with whole data, files and other libraries.
    """

    dtype: np.dtype = fixed()
    seed: int = fixed()
    layers: tuple[Any, ...] = fixed()
    history: Any = setting()
    metadata: dict[str, Any] = setting(dictionary)
    turn: Turn = fixed()  # to train it
    state: State = fixed()
    workspaces: Workspaces = fixed()
    sharing: Sharing = fixed()

    def __init__(self, *layers: Any, dtype: Any = "float32", seed: int | None = 0):
        self.dtype = checked_dtype(dtype)
        self.seed = checked_seed(seed)
        self.layers = checked_layers(layers, self.dtype)
        self.history = None
        self.metadata = {}
        self._join(None)
        for layer in self.layers:
            layer.initialise(self.seed)

    def _join(self, state: State | None) -> None:
        """Become the network of the layers, with a new state unless there is one, and all that is not copied."""
        sizes = joined(self, self.layers)
        self.state = State(*sizes, self.dtype) if state is None else state
        self.workspaces = Workspaces(self.layers, self.state, self.seed, self.dtype)
        self.sharing = Sharing(tuple(layer.flops for layer in self.layers))
        self.turn = Turn("network")
        self._rows = 0  # of the last forward pass by hand
        self._small: dict[np.dtype, SmallPredict] = {}  # by the dtype of x

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles, without workspaces, whose addresses are those of this network, and
        locks. Layers come without their way back to the network: not every library finds round a circle."""
        left = ("turn", "workspaces", "sharing", "_small", "_active", "_rows")
        kept = {name: value for name, value in self.__dict__.items() if name not in left}
        return {**kept, "layers": tuple(layer.apart() for layer in self.layers)}

    def __setstate__(self, content: dict[str, Any]) -> None:
        content = dict(content)
        state = content.pop("state", None)
        if state is None:
            state = former_state(content)
        self.__dict__.update(content)
        self._join(state)

    def __copy__(self) -> Any:
        """Return a whole copy: layers belong to one network, and so does the memory that they are views of."""
        return copy.deepcopy(self)

    def twin(self) -> Any:
        """Return a network of copies of the layers, with parameters of its own and no moments: to time training with."""
        twin = type(self).__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "state": self.state.without_moments()})
        return twin

    # ---------------------------------------------------------------------------------------------------------- vectors

    @property
    def parameters(self) -> np.ndarray:
        """The flat vector of all weights and biases."""
        return self.state.parameters

    @parameters.setter
    def parameters(self, values: Any) -> None:
        copy_in("parameters", self.state.parameters, values)

    @property
    def gradients(self) -> np.ndarray:
        """The flat vector of the last `backward`, in the order of `parameters`; made at the first use. A `fit` stores none, nor
        does `engine.train_step`, unless it clips by the global norm, its minibatches are large, or it has a layer or an
        activation of yours."""
        return self.state.gradients

    @gradients.setter
    def gradients(self, values: Any) -> None:
        copy_in("gradients", self.gradients, values)

    @property
    def statistics(self) -> np.ndarray:
        """The flat vector of what layers keep beside their parameters, saved and restored with them, but not trained."""
        return self.state.statistics

    @property
    def kept(self) -> np.ndarray:
        """The last finite parameters of a fit, and statistics."""
        return self.state.kept

    @property
    def epochs_shuffled(self) -> int:
        """The number of epochs that were shuffled, which decides the order of the next one."""
        return self.state.epochs_shuffled

    @epochs_shuffled.setter
    def epochs_shuffled(self, value: Any) -> None:
        self.state.epochs_shuffled = whole_number("epochs_shuffled", value, at_least=0)

    @property
    def inputs(self) -> int:
        """Columns of x."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Columns of the output."""
        return self.layers[-1].outputs

    def decayed(self) -> Iterator[slice]:
        """Yield ranges of `parameters` that weight decay touches."""
        for layer in self.layers:
            start = layer.place.parameters
            yield slice(start, start + layer.decayed)

    # -------------------------------------------------------------------------------------------------------- trainings

    def use(self, optimizer: optimizers.Optimizer, within_fit: bool = False) -> None:
        """Provide moments for the optimizer: those at hand when it is of the kind used before, otherwise new ones.
        ValueError where a vector is read-only, RuntimeError where a fit would lose its moments."""
        if self.state.use(optimizer, within_fit):
            self.forget_workspaces()

    def forget_workspaces(self) -> None:
        """Drop workspaces, which hold addresses of moments, when the state gets others."""
        self.workspaces.forget()
        self._small = {}

    def fuses(self, optimizer: optimizers.Optimizer, batch_size: int) -> bool:
        """Return whether a step can update each parameter as soon as its gradient is there.

        Not before their norm is known, nor where a sum over the minibatch comes in several blocks, nor where a function of the
        user's may still raise something.
        """
        custom = any(layer.custom for layer in self.layers)
        return not (optimizer.clip_norm or custom or batch_size > longest_sum(self.dtype.name))

    def training(self, loss: Any, optimizer: Any, batch_size: int = 32) -> Training:
        """Return what `fastbp.engine` takes, from Python and from `@njit`: a NamedTuple of arrays that share memory with
        the network.

        The learning rate is `training.learning_rate[0]`, a schedule's at its start. It serves one thread at a time, and keeps
        its network alive. A later `fit` or `step` with another kind of optimizer gives the network new moments, apart from
        those of this Training. It cannot be copied, pickled or sent to another process: send the network.
        """
        loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer, self.dtype)
        check_loss(self, loss)
        batch_size = whole_number("batch_size", batch_size, at_least=1)
        with self.turn.taken("training", within=True) as nested:
            self.use(optimizer, nested)
            training = self.workspaces.make(batch_size, stores=True)
        configure(training, loss, optimizer, self.dtype.name, self.fuses(optimizer, batch_size))
        return training.keeping(self, loss)

    # ---------------------------------------------------------------------------------------------------------- by hand

    def forward(self, x: Any) -> np.ndarray:
        """Return the output (K, outputs) for a minibatch x (K, inputs), in training: dropout acts. `backward` may follow."""
        x = convert.as_input("x", x, self.inputs)
        workers = self.sharing.region_for(len(x))
        batch_size = max(len(x), self.workspaces.largest(BY_HAND))
        out = np.empty((len(x), self.outputs), self.dtype)
        with self.turn.taken("forward", within=True):
            self._active, self._rows = self.workspaces.for_purpose(BY_HAND, batch_size, stores=True), 0
            slice_block(self._active, x=x, out=out, last=len(x)).run(forward_minibatch, workers)
            if found := self._overflow(x, out):
                raise ValueError(found)
            self._rows = len(x)
        return out

    def _overflow(self, x: np.ndarray, out: np.ndarray) -> str | None:
        """Return the sentence that names the number of x that the network's dtype does not hold, where an output is not
        finite because of it: a pass over x before would cost as much as small networks do. NaN and infinity in x pass."""
        wider = x.dtype.kind == "f" and x.dtype.itemsize > self.dtype.itemsize
        return convert.first_overflow("x", x, self.dtype) if wider and not np.isfinite(out).all() else None

    def backward(self, delta: Any, input_delta: bool = False) -> np.ndarray | None:
        """Compute all gradients from delta = dC/d(output) (K, outputs) of the last `forward`; returns dC/dx if
        `input_delta`."""
        with self.turn.taken("backward", within=True):
            return self._backward(delta, input_delta)

    def _backward(self, delta: Any, input_delta: bool) -> np.ndarray | None:
        check_writable("gradients", self.state.stored)
        if not self._rows:
            raise ValueError("backward: got no forward pass before it, expected net.forward(x) first")
        delta = convert.as_matrix("delta", delta, self.outputs)
        if len(delta) != self._rows:
            raise ValueError(f"delta: got {len(delta)} rows, expected {self._rows}, as in the last forward pass")
        if found := convert.first_overflow("delta", delta, self.dtype):
            raise ValueError(found)
        delta = np.asarray(delta, self.dtype)
        out = np.empty((self._rows, self.inputs), self.dtype) if input_delta else None
        given, wanted = Description(delta), Description(out)
        code, network = backward_minibatch.of(self.dtype.name), self._active.network.ctypes.data
        into = wanted.address if input_delta else 0
        code.run(network, given.address, into, self.sharing.region_for(self._rows))
        raise_from(self._active)
        return out

    def step(self, optimizer: Any) -> None:
        """Update the parameters by the gradients of the last `backward`. A schedule counts as its rate at the start."""
        optimizer = optimizers.as_optimizer(optimizer, self.dtype)
        workers = region_for_vector(self.parameters.size)
        with self.turn.taken("step", within=True) as nested:
            self.use(optimizer, nested)
            training = self.workspaces.for_purpose(UPDATE, 1, stores=True)
            use_optimizer(training, optimizer, self.dtype.name, fused=False)
            update.of(self.dtype.name).run(training.network.ctypes.data, workers)

    # ---------------------------------------------------------------------------------------------------------- predict

    def predict(self, x: Any) -> np.ndarray:
        """Return the network's output (rows, outputs) for x (rows, inputs), of any real dtype.

        NaN and infinity in x pass. ValueError where the output is not finite because of a finite number in x that is too large
        for the network's dtype.

        A few rows of float32 or float64 cost little more than their arithmetic, from the second call on.
        """
        small = self._small.get(x.dtype) if type(x) is np.ndarray and x.ndim == 2 else None
        if small is not None:
            predict, network, _training = small
            out = predict(network, x)
            if out is not None:
                return out
        return self._predict(x)

    def _predict(self, x: Any) -> np.ndarray:
        """Return `predict` of x, whatever its form."""
        x = convert.as_input("x", x, self.inputs)
        out = np.empty((len(x), self.outputs), self.dtype)
        workers = self.sharing.region_for(min(len(x), PREDICT_ROWS))
        with self.workspaces.inference.here():
            training = self.workspaces.for_purpose(INFERENCE, min(len(x), PREDICT_ROWS))
            for first, last in self.sharing.calls(len(x)):
                slice_block(training, x=x, out=out, first=first, last=last).run(predict_slice, workers)
                mapped.give_back(x, first, last)
        if found := self._overflow(x, out):
            raise ValueError(found)
        if (
            x.dtype in (np.float32, np.float64)
            and x.dtype not in self._small
            and len(x) <= PREDICT_ROWS
            and not workers
        ):
            self._small[x.dtype] = self._small_predict(x.dtype)
        return out

    def _small_predict(self, x_dtype: np.dtype) -> SmallPredict:
        training = self.workspaces.make(self.sharing.most_rows_alone(), stores=False)
        predictor = small_predictor(self.dtype.name, x_dtype.name)
        return SmallPredict(predictor, training.network.ctypes.data, training)
