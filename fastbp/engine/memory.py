"""The memory of a network: its table, buffers and workspace, laid out once; and views of it for Python and for `@njit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import DTypeLike

from fastbp.compiler.live import most_threads
from fastbp.engine.table import NETWORK, OPERATION, VERSION, Network, Operation
from fastbp.gemm.driver import strip_bytes
from fastbp.kernels.update_rules import CONSTANTS_BYTES
from fastbp.parallel.parts import CACHE_LINE, rounded_up
from fastbp.parallel.team import team_bytes

CONFLICT = 4096  # bytes: addresses so far apart share a set of the L1 cache


def no_bytes(batch_size: int) -> int:
    return 0


class OperationSpec(NamedTuple):
    """What the table needs to know of one operation, whatever its kind."""

    forward: int  # addresses of code
    backward: int
    gradient: int  # 0: backward does it all
    inputs: int
    outputs: int
    flops: float  # of the forward pass, a sample
    parameters: slice  # places in the flat vectors
    decayed: int  # the first of them, subject to weight decay
    statistics: int  # place in the vector of statistics
    own: tuple = ()  # the operation's own record: a NamedTuple of ints and floats
    work_bytes: Callable[[int], int] = no_bytes  # memory that each part of a minibatch of that size packs into
    scratch_bytes: int = 0
    derivative: int = 0  # address of the backward pass of its activation; 0 for the identity
    from_output: bool = True  # that pass needs the output, not the pre-activation
    propagates: bool = False  # its backward pass can apply the derivative of the operation below


class StateArrays(NamedTuple):
    """The arrays of a network that outlive a Training."""

    parameters: np.ndarray
    gradients: np.ndarray  # empty where none are stored
    moments: np.ndarray  # (moments of the optimizer, parameters); the first serves as m, the last as v
    counters: np.ndarray  # updates made, forward passes of training made
    statistics: np.ndarray  # they lie right behind the parameters
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
        """Return the same Training, keeping `owners` alive: so does its first array, also after a way through compiled
        code."""
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
    """Refuse `_replace` of a NamedTuple: compiled code would not see other arrays."""
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


def zeros_apart(shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return zeros on cache lines that hold nothing else (nor do their neighbours, which CPUs fetch along with them): a
    network on one thread is 4-7 % slower where its vectors or blocks share a line with those of a network on another."""
    size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    room = np.zeros(rounded_up(size, 2 * CACHE_LINE) + 2 * CACHE_LINE, np.uint8)
    first = -room.__array_interface__["data"][0] % (2 * CACHE_LINE)  # in half the time of room.ctypes.data
    return room[first : first + size].view(dtype).reshape(shape)


class Arena:
    """Hands out pieces of one workspace, each at a cache line: first counts their bytes, then gives their addresses."""

    def __init__(self) -> None:
        self.size = CACHE_LINE

    def reserve(self, size: int) -> int:
        """Reserve `size` more bytes; returns their offset."""
        offset, self.size = self.size, self.size + rounded_up(size, CACHE_LINE)
        return offset

    def allocate(self) -> tuple[np.ndarray, int]:
        """Return the workspace, of zeros (uninitialised numbers may be slow ones), and the address of offset 0."""
        workspace = np.zeros(self.size + CACHE_LINE, np.uint8)
        return workspace, rounded_up(workspace.ctypes.data, CACHE_LINE)


class Buffer(NamedTuple):
    """A matrix with a row a sample; its offset becomes an address when the workspace is allocated."""

    offset: int
    stride: int


class Layout:
    """Where the buffers of a table lie in the workspace."""

    def __init__(self, specs: list[OperationSpec], dtype: np.dtype, batch_size: int):
        self.specs, self.size, self.batch_size = specs, dtype.itemsize, batch_size
        self.arena = Arena()
        self.x = self.matrix(specs[0].inputs)
        self.y = self.matrix(max(specs[-1].outputs, 8 // self.size))  # or a row of int64 labels
        self.weights = self.arena.reserve(batch_size * self.size)
        self.outputs = [self.matrix(spec.outputs) for spec in specs]
        self.z = [None if spec.from_output else self.matrix(spec.outputs) for spec in specs]
        self.deltas = [self.matrix(specs[0].inputs), *(self.matrix(spec.outputs) for spec in specs)]
        self.own = [self.arena.reserve(8 * len(spec.own)) for spec in specs]
        self.work_pitch = max(spec.work_bytes(batch_size) for spec in specs)
        self.team = self.arena.reserve(team_bytes(most_threads()))
        self.strips = self.arena.reserve(strip_bytes(getattr(types, dtype.name)) * most_threads())
        self.constants = self.arena.reserve(2 * CONSTANTS_BYTES)
        self.scratch = self.arena.reserve(max(spec.scratch_bytes for spec in specs))
        self.work = self.arena.reserve(self.work_pitch * most_threads())

    def matrix(self, columns: int) -> Buffer:
        stride = rounded_up(columns * self.size, CACHE_LINE)
        if stride % CONFLICT == 0:  # a column of it would lie in one set of the L1 cache
            stride += CACHE_LINE
        return Buffer(self.arena.reserve(stride * self.batch_size), stride)


def set_fields(record: np.ndarray, places: dict[str, int], **values: float) -> None:
    """Write fields of a Network or an Operation; a float as the bits of a float64."""
    floats = record.view(np.float64)
    for name, value in values.items():
        (floats if isinstance(value, float) else record)[places[name] // 8] = value


def make_training(specs: list[OperationSpec], state: StateArrays, batch_size: int) -> Training:
    """Return a Training over `state`, with a workspace for minibatches of `batch_size` rows."""
    dtype = state.parameters.dtype
    layout = Layout(specs, dtype, batch_size)
    workspace, base = layout.arena.allocate()
    operations = np.zeros((len(specs), len(Operation._fields)), np.int64)
    for i, spec in enumerate(specs):
        fill_operation(operations[i], i, layout, state, base)
        fill_own(spec.own, workspace, base - workspace.ctypes.data + layout.own[i])
    learning_rate = zeros_apart(1, np.float64)
    network = zeros_apart(len(Network._fields), np.int64)
    moments = [row.ctypes.data for row in state.moments]
    set_fields(
        network, NETWORK,
        address=network.ctypes.data, operations=operations.ctypes.data, length=len(specs),
        inputs=specs[0].inputs, outputs=specs[-1].outputs,
        parameters=state.parameters.ctypes.data, gradients=state.gradients.ctypes.data, size=state.parameters.size,
        kept_size=state.parameters.size + state.statistics.size,
        m=moments[0] if moments else 0, v=moments[-1] if moments else 0, batch_size=batch_size,
        x_buffer=base + layout.x.offset, x_buffer_stride=layout.x.stride, y_buffer=base + layout.y.offset,
        y_buffer_stride=layout.y.stride, weight_buffer=base + layout.weights, work=base + layout.work,
        work_pitch=layout.work_pitch, team=base + layout.team, constants=base + layout.constants, strips=base + layout.strips,
        flops=sum(spec.flops for spec in specs),
        largest_flops=max(spec.flops for spec in specs), learning_rate=learning_rate.ctypes.data,
        counters=state.counters.ctypes.data,
        seed=state.seed,
    )  # fmt: skip
    return Training(
        network, operations, state.parameters, state.gradients, state.moments, state.counters, learning_rate, workspace
    )


def address_in(vector: np.ndarray, at: int) -> int:
    """Return the address `at` bytes into the vector; 0 where it is empty."""
    return int(vector.ctypes.data) + at if vector.size else 0


def fill_operation(record: np.ndarray, i: int, layout: Layout, state: StateArrays, base: int) -> None:
    """Write an operation's record: what its spec says, and addresses."""
    spec, at = layout.specs[i], layout.specs[i].parameters.start * layout.size
    set_fields(
        record, OPERATION,
        forward=spec.forward, backward=spec.backward, gradient=spec.gradient, inputs=spec.inputs, outputs=spec.outputs,
        flops=spec.flops, number=i, own=base + layout.own[i], scratch=base + layout.scratch,
        parameters=state.parameters.ctypes.data + at, gradients=address_in(state.gradients, at), at=at,
        parameter_count=spec.parameters.stop - spec.parameters.start, decayed_count=spec.decayed,
        statistics=address_in(state.statistics, spec.statistics * layout.size),
    )  # fmt: skip
    fill_buffers(record, i, layout, base)
    fill_derivatives(record, i, layout, base)


def fill_derivatives(record: np.ndarray, i: int, layout: Layout, base: int) -> None:
    """Let an activation's derivative be applied by the operation above, where that can, or by its own."""
    spec = layout.specs[i]
    below, above = layout.specs[i - 1] if i else None, layout.specs[i + 1] if i + 1 < len(layout.specs) else None
    if spec.derivative and not (above is not None and above.propagates):
        stored = stored_buffer(layout, i)
        set_fields(
            record, OPERATION, derivative=spec.derivative, stored=base + stored.offset, stored_stride=stored.stride
        )
    if below is not None and below.derivative and spec.propagates:
        stored = stored_buffer(layout, i - 1)
        set_fields(
            record, OPERATION,
            below=below.derivative, below_stored=base + stored.offset, below_stored_stride=stored.stride,
        )  # fmt: skip


def fill_own(own: tuple, workspace: np.ndarray, at: int) -> None:
    """Write an operation's own record into the workspace, eight bytes a field; a float as the bits of a float64."""
    words = workspace[at : at + 8 * len(own)]
    for i, value in enumerate(own):
        words[8 * i : 8 * i + 8].view(np.float64 if isinstance(value, float) else np.int64)[0] = value


def stored_buffer(layout: Layout, i: int) -> Buffer:
    """Return what the derivative of layer i is computed from."""
    return layout.z[i] or layout.outputs[i]


def fill_buffers(record: np.ndarray, i: int, layout: Layout, base: int) -> None:
    places = {
        "output": layout.outputs[i],
        "z": layout.z[i],
        "delta": layout.deltas[i + 1],
        "input_delta": layout.deltas[i],
    }
    if i:
        places["input"] = layout.outputs[i - 1]
    for name, buffer in places.items():
        if buffer is not None:
            set_fields(record, OPERATION, **{name: base + buffer.offset, f"{name}_stride": buffer.stride})
