"""What the operations have in common: their records, where their input lies, and the update of their parameters."""

from fastbp.compiler.jit import inlined, inner
from fastbp.compiler.llvm import call, fetch, on_stack
from fastbp.engine.table import Call, Network, Operation
from fastbp.kernels.update_rules import CONSTANTS_BYTES, Updated
from fastbp.parallel.parts import share


@inlined
def operands(args):
    """Return (network, its Network, the Operation) of the Call at `args`."""
    c = fetch(Call, args)
    return c.network, fetch(Network, c.network), fetch(Operation, c.operation)


@inlined
def input_of(t, o):
    """Return (address, row stride) of an operation's input: the output below, or the minibatch itself."""
    return (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)


@inner
def updated(t, at, stride, decays):
    """Return the Updated of the parameters `at` bytes into the flat vectors, with rows `stride` bytes apart."""
    m, v = t.m + at if t.m != 0 else 0, t.v + at if t.v != 0 else 0
    decay = t.weight_decay if decays else 0.0
    constants = t.constants if decays else t.constants + CONSTANTS_BYTES
    return Updated(t.parameters + at, m, v, stride, constants, decay, 1.0, t.clip_value)


@inner
def update_vector(t, at, gradients, length, decays, size, lanes, part, parts):
    """Update a part of a vector of parameters, `at` bytes into the flat vectors, by its gradients at an address."""
    start, columns = share(length, lanes, part, parts)
    call(t.update_pass, (on_stack(updated(t, at, 0, decays)), gradients + size * start, 0, 0, start, 1, columns))
