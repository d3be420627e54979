"""The memory of a network: its table, buffers and workspace, laid out once; and views of it for Python and for `@njit`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import DTypeLike

from fastbp.compiler.live import most_threads
from fastbp.engine.table import NETWORK, OPERATION, VERSION, Network, Operation
from fastbp.gemm.driver import strip_bytes, work_bound
from fastbp.kernels.update_rules import CONSTANTS_BYTES
from fastbp.parallel.team import team_bytes

LINE = 64  # bytes: every buffer and every row of one begins at a cache line
CONFLICT = 4096  # bytes: addresses so far apart share a set of the L1 cache


class Layer(NamedTuple):
    """What the table needs to know of one operation, whatever its kind."""

    forward: int  # addresses of code
    backward: int
    gradient: int  # 0: backward does it all
    inputs: int
    outputs: int
    weights: slice | None = None  # places in the flat vectors
    bias: slice | None = None
    by_input: bool = False  # the weights lie as (inputs, outputs)
    activation: int = 0  # address of the forward pass
    derivative: int = 0  # address of the backward pass; 0 for the identity
    from_output: bool = True
    rate: int = 0  # address of a float64
    propagates: bool = False  # its backward pass can apply the derivative of the layer below


class State(NamedTuple):
    """The arrays of a network that outlive a Training."""

    parameters: np.ndarray
    gradients: np.ndarray  # empty where none are stored
    moments: np.ndarray  # (moments of the optimizer, parameters); the first serves as m, the last as v
    counters: np.ndarray  # updates made, forward passes of training made
    seed: int


class Training(NamedTuple):
    """The arrays that compiled code is given; they share memory with the network.

    The first two hold addresses, which mean nothing in a copy or in another process: it refuses to be copied.
    """

    network: np.ndarray
    operations: np.ndarray
    parameters: np.ndarray
    gradients: np.ndarray
    moments: np.ndarray
    counters: np.ndarray
    learning_rate: np.ndarray
    workspace: np.ndarray

    def keeping(self, *owners: Any) -> Training:
        """The same, which keeps those objects alive: so does its first array, also after a way through compiled code."""
        record = np.asarray(Owned(self.network, owners))
        return type(self)(record, *self[1:])

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{name}: got an assignment to a Training, expected one into its arrays: training.{name}[...]"
        )

    def __reduce_ex__(self, protocol: Any) -> Any:  # what copies, deep copies and pickles ask for
        raise TypeError(
            "training: got a copy or pickle of it, whose addresses mean nothing there, expected none: "
            "send the network, and call net.training there"
        )


def refuse_replacing(self: Training, **arrays: np.ndarray) -> Training:
    """In place of NamedTuple's: compiled code would not see other arrays."""
    raise TypeError(f"training: got other arrays for {', '.join(arrays)}, expected none: write into those it has")


class Owned:
    """The memory of an array, for one that keeps `owners` alive."""

    def __init__(self, array: np.ndarray, owners: tuple):
        self.kept, self.__array_interface__ = (array, owners), array.__array_interface__


# The version of the layout is part of the name, and so of the types that users' functions are compiled and cached for.
# numba pickles the class by that name; those of other versions must be found too, for an old cache file to be read at all.
Training._replace = refuse_replacing  # type: ignore
Training.__name__ = Training.__qualname__ = f"Training{VERSION}"
globals()[Training.__name__] = Training


def __getattr__(name: str) -> type:
    if name.startswith("Training") and name[8:].isdecimal():
        return type(name, (tuple,), {"_fields": ()})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def rounded_up(x: int, unit: int) -> int:
    return -(-x // unit) * unit


def zeros_apart(shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Zeros on cache lines that hold nothing else (nor do their neighbours, which CPUs fetch along with them): a network
    on one thread is 4-7 % slower where its vectors or blocks share a line with those of a network on another."""
    size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    room = np.zeros(rounded_up(size, 2 * LINE) + 2 * LINE, np.uint8)
    first = -room.__array_interface__["data"][0] % (2 * LINE)  # in half the time of room.ctypes.data
    return room[first : first + size].view(dtype).reshape(shape)


class Arena:
    """Hands out pieces of one workspace: first counts their bytes, then gives their addresses."""

    def __init__(self) -> None:
        self.size = LINE

    def reserve(self, size: int) -> int:
        """The offset of so many more bytes."""
        offset, self.size = self.size, self.size + rounded_up(size, LINE)
        return offset

    def allocate(self) -> tuple[np.ndarray, int]:
        """The workspace, of zeros (uninitialised numbers may be slow ones), and the address of offset 0."""
        workspace = np.zeros(self.size + LINE, np.uint8)
        return workspace, rounded_up(workspace.ctypes.data, LINE)


class Buffer(NamedTuple):
    """A matrix with a row a sample; its offset becomes an address when the workspace is allocated."""

    offset: int
    stride: int


class Plan:
    """Where the buffers of a table lie in the workspace."""

    def __init__(self, layers: list[Layer], dtype: np.dtype, batch_size: int):
        self.layers, self.size, self.batch_size = layers, dtype.itemsize, batch_size
        self.arena = Arena()
        self.x = self.matrix(layers[0].inputs)
        self.y = self.matrix(max(layers[-1].outputs, 8 // self.size))  # or a row of int64 labels
        self.weights = self.arena.reserve(batch_size * self.size)
        self.outputs = [self.matrix(layer.outputs) for layer in layers]
        self.z = [None if layer.from_output else self.matrix(layer.outputs) for layer in layers]
        self.deltas = [self.matrix(layers[0].inputs), *(self.matrix(layer.outputs) for layer in layers)]
        self.work_pitch = max(self.work_of(layer, dtype) for layer in layers)
        self.team = self.arena.reserve(team_bytes(most_threads()))
        self.strips = self.arena.reserve(strip_bytes(getattr(types, dtype.name)) * most_threads())
        self.constants = self.arena.reserve(2 * CONSTANTS_BYTES)
        self.bias_sums = self.arena.reserve(self.size * max(layer.outputs for layer in layers))
        self.work = self.arena.reserve(self.work_pitch * most_threads())

    def matrix(self, columns: int) -> Buffer:
        stride = rounded_up(columns * self.size, LINE)
        if stride % CONFLICT == 0:  # a column of it would lie in one set of the L1 cache
            stride += LINE
        return Buffer(self.arena.reserve(stride * self.batch_size), stride)

    def work_of(self, layer: Layer, dtype: np.dtype) -> int:
        if layer.weights is None:
            return 0
        real = getattr(types, dtype.name)
        K, m, n = self.batch_size, layer.outputs, layer.inputs
        return max(work_bound(real, *sizes) for sizes in ((K, m, n), (m, n, K), (n, m, K), (K, n, m)))


def set_fields(record: np.ndarray, places: dict[str, int], **values: float) -> None:
    """Write fields of a Network or an Operation; a float as the bits of a float64."""
    floats = record.view(np.float64)
    for name, value in values.items():
        (floats if isinstance(value, float) else record)[places[name] // 8] = value


def make_training(layers: list[Layer], state: State, batch_size: int, **settings: float) -> Training:
    """A Training over `state`, with a workspace for minibatches of `batch_size` rows; `settings` are fields of Network."""
    dtype = state.parameters.dtype
    plan = Plan(layers, dtype, batch_size)
    workspace, base = plan.arena.allocate()
    operations = np.zeros((len(layers), len(Operation._fields)), np.int64)
    for i in range(len(layers)):
        fill_operation(operations[i], i, plan, state, base)
    learning_rate = zeros_apart(1, np.float64)
    network = zeros_apart(len(Network._fields), np.int64)
    moments = [row.ctypes.data for row in state.moments]
    set_fields(
        network, NETWORK,
        address=network.ctypes.data, operations=operations.ctypes.data, length=len(layers),
        inputs=layers[0].inputs, outputs=layers[-1].outputs,
        parameters=state.parameters.ctypes.data, gradients=state.gradients.ctypes.data, size=state.parameters.size,
        m=moments[0] if moments else 0, v=moments[-1] if moments else 0, batch_size=batch_size,
        x_buffer=base + plan.x.offset, x_buffer_stride=plan.x.stride, y_buffer=base + plan.y.offset,
        y_buffer_stride=plan.y.stride, weight_buffer=base + plan.weights, work=base + plan.work,
        work_pitch=plan.work_pitch, team=base + plan.team, constants=base + plan.constants, strips=base + plan.strips,
        flops=sum(map(flops_of, layers)),
        largest_flops=max(map(flops_of, layers)), learning_rate=learning_rate.ctypes.data, counters=state.counters.ctypes.data,
        seed=state.seed,
    )  # fmt: skip
    set_fields(network, NETWORK, **settings)
    return Training(
        network, operations, state.parameters, state.gradients, state.moments, state.counters, learning_rate, workspace
    )


def address_in(vector: np.ndarray, at: int) -> int:
    """The address `at` bytes into the vector; 0 where it is empty."""
    return int(vector.ctypes.data) + at if vector.size else 0


def fill_operation(record: np.ndarray, i: int, plan: Plan, state: State, base: int) -> None:
    layer, size = plan.layers[i], plan.size
    below, above = plan.layers[i - 1] if i else None, plan.layers[i + 1] if i + 1 < len(plan.layers) else None
    set_fields(
        record, OPERATION,
        forward=layer.forward, backward=layer.backward, gradient=layer.gradient, inputs=layer.inputs, outputs=layer.outputs,
        flops=flops_of(layer),
        activation=layer.activation, number=i, rate=layer.rate,
    )  # fmt: skip
    fill_buffers(record, i, plan, base)
    if layer.weights is not None:
        at = layer.weights.start * size
        set_fields(
            record, OPERATION, weights=state.parameters.ctypes.data + at, grad_w=address_in(state.gradients, at),
            weight_count=layer.weights.stop - layer.weights.start, at=at, bias_sums=base + plan.bias_sums,
            by_input=int(layer.by_input),
        )  # fmt: skip
    if layer.bias is not None:
        at = layer.bias.start * size
        set_fields(
            record, OPERATION, bias=state.parameters.ctypes.data + at, grad_b=address_in(state.gradients, at),
            bias_count=layer.bias.stop - layer.bias.start,
        )  # fmt: skip
    if layer.derivative and not (above is not None and above.propagates):
        stored = stored_buffer(plan, i)
        set_fields(
            record, OPERATION, derivative=layer.derivative, stored=base + stored.offset, stored_stride=stored.stride
        )
    if below is not None and below.derivative and layer.propagates:
        stored = stored_buffer(plan, i - 1)
        set_fields(
            record,
            OPERATION,
            below=below.derivative,
            below_stored=base + stored.offset,
            below_stored_stride=stored.stride,
        )


def flops_of(layer: Layer) -> float:
    """Of its forward pass, a sample."""
    return 2.0 * layer.inputs * layer.outputs if layer.weights is not None else 64.0 * layer.outputs


def stored_buffer(plan: Plan, i: int) -> Buffer:
    """What the derivative of layer i is computed from."""
    return plan.z[i] or plan.outputs[i]


def fill_buffers(record: np.ndarray, i: int, plan: Plan, base: int) -> None:
    places = {"output": plan.outputs[i], "z": plan.z[i], "delta": plan.deltas[i + 1], "input_delta": plan.deltas[i]}
    if i:
        places["input"] = plan.outputs[i - 1]
    for name, buffer in places.items():
        if buffer is not None:
            set_fields(record, OPERATION, **{name: base + buffer.offset, f"{name}_stride": buffer.stride})
