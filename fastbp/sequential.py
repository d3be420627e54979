"""Sequential: a chain of layers lowered to the table of the engine, and the owner of its flat vectors."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastbp import losses, optimizers
from fastbp.attributes import Declared, fixed, setting
from fastbp.checks import dictionary, whole_number
from fastbp.data import convert, mapped
from fastbp.engine.by_hand import backward_minibatch, forward_minibatch
from fastbp.engine.finite import copy_if_finite
from fastbp.engine.infer import predict_slice
from fastbp.engine.memory import State, Training, make_training, zeros_apart
from fastbp.engine.small_predict import small_predictor
from fastbp.engine.walk import update
from fastbp.io import model_file
from fastbp.io.methods import Exchange
from fastbp.layers.base import Layer
from fastbp.layers.custom import Custom
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.layers.initial import copy_in, initial
from fastbp.layers.named import calls_user
from fastbp.network.lowering import (
    Description,
    configure,
    longest_sum,
    lowered,
    raise_from,
    slice_block,
    use_optimizer,
)
from fastbp.parallel.region import region
from fastbp.parallel.sharing import TEAM_SERIAL_BELOW, shareable_flops
from fastbp.parallel.turns import ProcessLock, Turn

DTYPES = ("float32", "float64")
PREDICT_ROWS = 256  # rows of a minibatch in predict


class Few(NamedTuple):
    """How `predict` computes a few rows of one dtype."""

    predict: Callable[[int, np.ndarray], np.ndarray | None]
    network: int  # an address in `training`, which must live as long
    training: Training


class Sequential(Declared, Exchange):
    """A chain of layers, each fed with the output of the one before.

    dtype: "float32" or "float64", of parameters and arithmetic. seed: of the initial parameters, of shuffling and dropout;
    None draws one, which `net.seed` tells.

    `parameters` and `gradients` are flat vectors, without padding: layer by layer the m n weights, then the
    m biases. Of the first layer it is `weight.T` that lies in C order, of the others `weight`. Assigning to them copies in.
    `history` is that of the latest `fit`; `metadata` a dict that `save` keeps. What cannot be set after a network is made
    raises AttributeError.
    """

    dtype: np.dtype = fixed()
    seed: int = fixed()
    layers: tuple[Layer, ...] = fixed()
    history: Any = setting()
    metadata: dict[str, Any] = setting(dictionary)
    epochs_shuffled: int = setting(whole_number, at_least=0)  # decides the order of the next epoch
    turn: Turn = fixed()  # to train it

    def __init__(self, *layers: Layer, dtype: Any = "float32", seed: int | None = 0):
        self.dtype = checked_dtype(dtype)
        self.seed = checked_seed(seed)
        self.layers = tuple(layers)
        check_chain(self.layers)
        for layer in self.layers:
            layer.check_values(self.dtype)
        self._parameters = zeros_apart(sum(layer.size for layer in self.layers), self.dtype)
        self._gradients: np.ndarray | None = None
        self.history = None
        self.metadata = {}
        self.epochs_shuffled = 0
        self._counters = zeros_apart(2, np.int64)  # updates made, forward passes of training made
        self._moments = np.zeros((0, self.parameters.size), self.dtype)
        self._rule: str | None = None
        self._kept = np.zeros(0, self.dtype)
        self._workspaces: dict[tuple[str, int, bool], Training] = {}
        self._few: dict[np.dtype, Few] = {}  # by the dtype of x
        self._add_locks()
        self._rows = 0  # of the last forward pass by hand
        self._join_layers()
        self._initialise()

    def _add_locks(self) -> None:
        self._inference = ProcessLock()  # of the workspace that predict and evaluate share, from any thread
        self.turn = Turn("network")

    def _join_layers(self) -> None:
        start = columns = 0
        for layer in self.layers:
            layer.join(self, start, columns)
            start, columns = start + layer.size, layer.outputs

    def _initialise(self) -> None:
        start = 0
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                shape = (layer.outputs, layer.inputs)
                layer.weight[:] = initial(layer.weight_init, "weight_init", shape, self.seed, 2 * i)
                if layer.bias is not None:
                    layer.bias[:] = initial(layer.bias_init, "bias_init", shape[:1], self.seed, 2 * i + 1)
            elif isinstance(layer, Custom):
                self.parameters[start : start + layer.size] = layer.parameters_init
            start += layer.size

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"Sequential({inside}, dtype={self.dtype.name!r}, seed={self.seed})"

    def __str__(self) -> str:
        rows = [f"{i:3d}  {layer!r:60s} {layer.size:>10,d} parameters" for i, layer in enumerate(self.layers)]
        return "\n".join([*rows, f"     {self.dtype.name:60s} {self.parameters.size:>10,d} parameters"])

    @property
    def parameters(self) -> np.ndarray:
        """The flat vector of all weights and biases."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: Any) -> None:
        copy_in("parameters", self._parameters, values)

    @property
    def gradients(self) -> np.ndarray:
        """The flat vector of the last `backward`, in the order of `parameters`; made at the first use. A `fit` stores none, nor
        does `engine.train_step`, unless it clips by the global norm, its minibatches are large, or it has a layer or an
        activation of yours."""
        if self._gradients is None:
            self._gradients = zeros_apart(self.parameters.size, self.dtype)
        return self._gradients

    @gradients.setter
    def gradients(self, values: Any) -> None:
        copy_in("gradients", self.gradients, values)

    @property
    def kept(self) -> np.ndarray:
        """The last finite parameters of a fit."""
        return self._kept

    @property
    def inputs(self) -> int:
        """Columns of x."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Columns of the output."""
        return self.layers[-1].outputs

    # ------------------------------------------------------------------------------------------------ the compiled side

    def _make_training(self, batch_size: int, stores: bool) -> Training:
        """With room for gradients if it `stores` them."""
        layers = [lowered(layer, self.dtype.name) for layer in self.layers]
        state = State(
            self.parameters, self.gradients if stores else self.parameters[:0], self._moments, self._counters, self.seed
        )
        return make_training(layers, state, batch_size)

    def _workspace(self, purpose: str, batch_size: int, stores: bool = False) -> Training:
        """A Training for one purpose, kept for the next time with that batch size: what one purpose leaves in its buffers
        (between a forward and a backward pass, in the midst of a fit) another must not overwrite."""
        key, kept = (purpose, batch_size, stores), self._workspaces
        if key in kept:
            return kept[key]
        training = self._make_training(batch_size, stores)
        latest = list(kept.items())[-7:]
        self._workspaces = {**dict(latest), key: training}  # another one, since other threads may be looking at the old
        return training

    def _use_optimizer(self, optimizer: optimizers.Optimizer, within_fit: bool = False) -> None:
        """Moments for the optimizer: those at hand when it is of the kind used before, otherwise new ones."""
        self.refuse_read_only()
        if self._rule != optimizer.rule:
            if within_fit:
                raise RuntimeError(
                    f"optimizer: got {optimizer.rule} within a fit by {self._rule}, whose moments it would replace, "
                    "expected the same kind"
                )
            self._rule = optimizer.rule
            self._moments = zeros_apart((optimizer.moments, self.parameters.size), self.dtype)
            self._counters[0] = 0
            self._forget_workspaces()

    def fuses(self, optimizer: optimizers.Optimizer, batch_size: int) -> bool:
        """Whether a step can update each parameter as soon as its gradient is there.

        Not before their norm is known, nor where a sum over the minibatch comes in several blocks, nor where a function of the
        user's may still raise something.
        """
        custom = any(calls_user(layer) for layer in self.layers)
        return not (optimizer.clip_norm or custom or batch_size > longest_sum(self.dtype.name))

    def refuse_read_only(self) -> None:
        """ValueError where somebody marked a vector that training writes as read-only."""
        check_writable("parameters", self._parameters)
        check_writable("gradients", self._gradients)
        check_writable("moments", self._moments)

    def _forget_workspaces(self) -> None:
        """They hold addresses of moments: whoever gives the network others calls this."""
        self._workspaces, self._few = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        """For copies and files: all but workspaces, whose addresses are those of this network, and locks. Layers come without
        their way back to the network: not every library finds round a circle."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_inference", "turn")}
        kept["layers"] = tuple(layer.apart() for layer in self.layers)
        return {**kept, "_workspaces": {}, "_few": {}, "_active": None, "_rows": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With vectors of its own: those at hand may lie in a file, read-only, as joblib's workers get them."""
        self.__dict__.update(state)
        for name in ("_parameters", "_gradients", "_moments", "_counters", "_kept"):
            if state[name] is not None:
                self.__dict__[name] = owned(state[name])
        self._join_layers()
        self._add_locks()

    def __copy__(self) -> Sequential:
        """A whole copy: layers belong to one network, and so does the memory that they are views of."""
        return copy.deepcopy(self)

    def twin(self) -> Sequential:
        """A network on the same layers, with parameters of its own and no moments: to time training with."""
        twin = type(self).__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "_gradients": None, "_rule": None, "_moments": self._moments[:0]})
        return twin

    def training(self, loss: Any, optimizer: Any, batch_size: int = 32) -> Training:
        """What `fastbp.engine` takes, from Python and from `@njit`: a NamedTuple of arrays that share memory with the network.

        The learning rate is `training.learning_rate[0]`, a schedule's at its start. It serves one thread at a time, and keeps
        its network alive. A later `fit` or `step` with another kind of optimizer gives the network new moments, apart from
        those of this Training. It cannot be copied, pickled or sent to another process: send the network.
        """
        loss, optimizer = losses.as_loss(loss), optimizers.as_optimizer(optimizer, self.dtype)
        check_loss(self, loss)
        batch_size = whole_number("batch_size", batch_size, at_least=1)
        with self.turn.taken("training", within=True) as nested:
            self._use_optimizer(optimizer, nested)
            training = self._make_training(batch_size, stores=True)
        configure(training, loss, optimizer, self.dtype.name, self.fuses(optimizer, batch_size))
        return training.keeping(self, loss)

    def _run(self, code: Any, *arguments: int) -> int:
        """Call compiled code, without the GIL, with the parallel region where the work may be worth it."""
        found = code.of(self.dtype.name)
        found.resolve()
        return found.compiled.ctypes(*arguments)

    def keep_if_finite(self, keep: bool = True) -> bool:
        """Whether all parameters are finite; if so, and if asked to `keep` them, they are copied to `kept`."""
        if self.kept.size != self.parameters.size:
            self._kept = np.empty_like(self.parameters)
        vectors = (self.parameters.ctypes.data, self.kept.ctypes.data if keep else 0, self.parameters.size)
        return bool(self._run(copy_if_finite, *vectors, region.of().resolve() if self.parameters.size > 30000 else 0))

    def region_for(self, rows: int) -> int:
        """The address of the parallel region, or 0 where no product of so many rows would be shared."""
        return region.of().resolve() if self.shares(rows) else 0

    def shares(self, rows: int) -> bool:
        """Whether any product of so many rows is worth more than one thread."""
        largest = max(shareable_flops(2.0 * layer.inputs * layer.outputs, rows) for layer in self.layers)
        return largest >= TEAM_SERIAL_BELOW

    # --------------------------------------------------------------------------------------------------------- by hand

    def forward(self, x: Any) -> np.ndarray:
        """The output (K, outputs) for a minibatch x (K, inputs), in training: dropout acts. `backward` may follow."""
        x = convert.as_input("x", x, self.inputs)
        workers = self.region_for(len(x))
        batch_size = max([len(x), *(size for purpose, size, _ in self._workspaces if purpose == "by hand")])
        out = np.empty((len(x), self.outputs), self.dtype)
        with self.turn.taken("forward", within=True):
            self._active, self._rows = self._workspace("by hand", batch_size, stores=True), 0
            slice_block(self._active, x=x, out=out, last=len(x)).run(forward_minibatch, workers)
            if found := self._overflow(x, out):
                raise ValueError(found)
            self._rows = len(x)
        return out

    def _overflow(self, x: np.ndarray, out: np.ndarray) -> str | None:
        """Where an output is not finite, the sentence that names the number of x that the network's dtype does not hold, if
        there is one: a pass over x before would cost as much as small networks do. NaN and infinity in x pass."""
        wider = x.dtype.kind == "f" and x.dtype.itemsize > self.dtype.itemsize
        return convert.first_overflow("x", x, self.dtype) if wider and not np.isfinite(out).all() else None

    def backward(self, delta: Any, input_delta: bool = False) -> np.ndarray | None:
        """All gradients from delta = dC/d(output) (K, outputs) of the last `forward`; returns dC/dx if `input_delta`."""
        with self.turn.taken("backward", within=True):
            return self._backward(delta, input_delta)

    def _backward(self, delta: Any, input_delta: bool) -> np.ndarray | None:
        check_writable("gradients", self._gradients)
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
        network = self._active.network.ctypes.data
        into = wanted.address if input_delta else 0
        self._run(backward_minibatch, network, given.address, into, self.region_for(self._rows))
        raise_from(self._active)
        return out

    def step(self, optimizer: Any) -> None:
        """Update the parameters by the gradients of the last `backward`. A schedule counts as its rate at the start."""
        optimizer = optimizers.as_optimizer(optimizer, self.dtype)
        workers = region.of().resolve() if self.parameters.size > 30000 else 0
        with self.turn.taken("step", within=True) as nested:
            self._use_optimizer(optimizer, nested)
            training = self._workspace("update", 1, stores=True)
            use_optimizer(training, optimizer, self.dtype.name, fused=False)
            self._run(update, training.network.ctypes.data, workers)

    # ------------------------------------------------------------------------------------------------------- whole data

    def fit(
        self,
        x: Any,
        y: Any = None,
        loss: Any = "softmax_cross_entropy",
        optimizer: Any = "adam",
        batch_size: int | None = None,
        epochs: int = 1,
        shuffle: bool | None = None,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        callbacks: Any = (),
        metrics: Iterable[Any] = (),
        progress: bool = False,
        steps_per_epoch: int | None = None,
    ) -> Any:
        """Train on x (rows, inputs) and y, or on minibatches (x, y) that an iterable x hands out; returns the History.

        Rows are shuffled, and batch_size is 32, unless you say otherwise. See `fastbp.training.fit` for all that it does.
        RuntimeError while another thread trains this network, or from within a fit of it.
        """
        from fastbp.training import loop

        with self.turn.taken("fit"):
            return loop.fit(
                self, x, y, loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=epochs, shuffle=shuffle,
                validation_data=validation_data, sample_weight=sample_weight, callbacks=callbacks, metrics=metrics,
                progress=progress, steps_per_epoch=steps_per_epoch,
            )  # fmt: skip

    def predict(self, x: Any) -> np.ndarray:
        """The network's output (rows, outputs) for x (rows, inputs), of any real dtype.

        NaN and infinity in x pass. ValueError where the output is not finite because of a finite number in x that is too large
        for the network's dtype.

        A few rows of float32 or float64 cost little more than their arithmetic, from the second call on.
        """
        few = self._few.get(x.dtype) if type(x) is np.ndarray and x.ndim == 2 else None
        if few is not None:
            predict, network, _training = few
            out = predict(network, x)
            if out is not None:
                return out
        return self._predict(x)

    def _predict(self, x: Any) -> np.ndarray:
        """`predict` for whatever x."""
        x = convert.as_input("x", x, self.inputs)
        out = np.empty((len(x), self.outputs), self.dtype)
        workers = self.region_for(min(len(x), PREDICT_ROWS))
        with self._inference.here():
            training = self._workspace("inference", min(len(x), PREDICT_ROWS))
            for first, last in self._slices(len(x), PREDICT_ROWS):
                slice_block(training, x=x, out=out, first=first, last=last).run(predict_slice, workers)
                mapped.give_back(x, first, last)
        if found := self._overflow(x, out):
            raise ValueError(found)
        if x.dtype.name in DTYPES and x.dtype not in self._few and len(x) <= PREDICT_ROWS and workers == 0:
            self._few[x.dtype] = self._make_few(x.dtype)
        return out

    def _make_few(self, x_dtype: np.dtype) -> Few:
        """For as many rows as one thread works on in any case, PREDICT_ROWS at most."""
        rows = max(rows for rows in range(1, PREDICT_ROWS + 1) if not self.shares(rows))
        training = self._make_training(rows, stores=False)
        return Few(small_predictor(self.dtype.name, x_dtype.name), training.network.ctypes.data, training)

    def evaluate(self, x: Any, y: Any, loss: Any = "softmax_cross_entropy", sample_weight: Any = None) -> float:
        """The cost over x and y: sum(w_k c_k) / sum(w_k), without dropout."""
        from fastbp.network.samples import Evaluation, Samples

        loss = losses.as_loss(loss)
        return Evaluation(self, loss, Samples(self, loss, x, y, sample_weight).checked()).cost()

    def explain(self, batch_size: int = 32, *, loss: Any = None, optimizer: Any = "adam") -> Any:
        """Where the time of a training step goes, and what the machine could do at most: an Explanation, to print.

        loss: None is softmax_cross_entropy, or with one output mean_squared_error.
        A second of training a copy, on random numbers; the network stays as it is.
        """
        from fastbp.inspect import explain

        return explain.explain(self, batch_size, loss=loss, optimizer=optimizer)

    def _slices(self, rows: int, batch_size: int) -> Iterable[tuple[int, int]]:
        """Ranges of whole minibatches, each some hundredths of a second of work."""
        flops = 2.0 * sum(layer.inputs * layer.outputs for layer in self.layers) + 1.0
        step = max(1, int(1e8 / (flops * batch_size))) * batch_size
        return ((first, min(first + step, rows)) for first in range(0, rows, step))

    # ------------------------------------------------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike, metadata: dict[str, Any] | None = None) -> None:
        """Write layers, parameters, seed and metadata to a safetensors file (extra `io`); never leaves half a file. What a
        killed process left of an earlier attempt is cleared away."""
        model_file.save(self, path, self.metadata if metadata is None else metadata)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Sequential:
        """The network in a file that `save` wrote; ValueError where it is none, or is damaged."""
        return model_file.load(cls, path)


# -------------------------------------------------------------------------------------------------------------- checks


def checked_seed(seed: Any) -> int:
    """The seed, or where it is None one that is drawn."""
    if seed is None:
        return secrets.randbits(32)
    if whole_number("seed", seed, at_least=0) >= 2**63:
        raise ValueError(f"seed: got {seed}, expected an integer below 2**63, or None")
    return int(seed)


def check_writable(name: str, vector: np.ndarray | None) -> None:
    if vector is not None and not vector.flags.writeable:
        raise ValueError(f"{name}: got a vector that was made read-only, expected one that can be written")


def owned(vector: np.ndarray) -> np.ndarray:
    """A copy, in memory that compiled code may write."""
    copied = zeros_apart(vector.shape, vector.dtype)
    copied[...] = vector
    return copied


def checked_dtype(dtype: Any) -> np.dtype:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype: got {dtype!r}, expected one of {', '.join(DTYPES)}")
    return np.dtype(name)


def check_chain(layers: tuple[Layer, ...]) -> None:
    """Layers fit together and belong to no other network; Dropout takes its size from the layer before it."""
    if not layers:
        raise ValueError("layers: got none, expected at least one")
    if isinstance(layers[0], Dropout):
        raise ValueError("layers: got Dropout first, expected a layer that knows its inputs")
    seen: set[int] = set()
    columns = None  # what the layer before hands on
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: got {layer!r} at place {i}, expected a layer")
        if layer.network is not None or id(layer) in seen:
            raise ValueError(
                f"layers: got {layer!r} at place {i} a second time, expected a layer that no network has yet"
            )
        seen.add(id(layer))
        if isinstance(layer, Dropout):
            continue
        if columns is not None and layer.inputs != columns:
            raise ValueError(f"layers: got {layer!r} after {columns} outputs, expected as many inputs")
        columns = layer.outputs


def check_loss(net: Sequential, loss: losses.Loss) -> None:
    """The cost can be had from the network's outputs, in its dtype."""
    loss.check(net.outputs, net.dtype)
    last = net.layers[-1]
    if loss.logits and isinstance(last, Dense) and last.activation == "sigmoid":
        raise ValueError(
            f"loss: got {loss.name} after a last layer with sigmoid, expected logits: "
            "give the last layer activation='identity' (the cost applies the sigmoid or softmax itself)"
        )
