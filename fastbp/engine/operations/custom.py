"""An operation of the user's in the table: two `@njit` functions on whole minibatches, on one thread.

    forward(x, parameters, out)
    backward(delta, x, out, parameters, gradients, delta_x)

x (K, inputs), out and delta (K, outputs), delta_x (K, inputs) are arrays, parameters and gradients flat vectors; out, gradients
and delta_x are to be overwritten. What they raise is noted in the network.
"""

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import array_at, fetch
from fastbp.compiler.raised import noting
from fastbp.engine.operations.base import input_of, operands
from fastbp.engine.table import AT_RAISED, Call


def custom_forward(real, function):
    @inner
    def call_function(args, part):
        _, t, o = operands(args)
        if part == 0:
            address, stride = input_of(t, o)
            x = array_at(address, (t.rows, o.inputs), stride, real)
            out = array_at(o.output, (t.rows, o.outputs), o.output_stride, real)
            function(x, array_at(o.parameters, (o.parameter_count,), 0, real), out)

    def forward(args, part, parts):
        noting(fetch(Call, args).network + AT_RAISED, call_function, (args, part))
        return 0

    return forward


def custom_backward(real, function):
    @inner
    def call_function(args, part):
        _, t, o = operands(args)
        if part == 0:
            address, stride = input_of(t, o)
            x = array_at(address, (t.rows, o.inputs), stride, real)
            out = array_at(o.output, (t.rows, o.outputs), o.output_stride, real)
            delta = array_at(o.delta, (t.rows, o.outputs), o.delta_stride, real)
            delta_x = array_at(o.input_delta, (t.rows, o.inputs), o.input_delta_stride, real)
            parameters = array_at(o.parameters, (o.parameter_count,), 0, real)
            gradients = array_at(o.gradients, (o.parameter_count,), 0, real)
            function(delta, x, out, parameters, gradients, delta_x)

    def backward(args, part, parts):
        noting(fetch(Call, args).network + AT_RAISED, call_function, (args, part))
        return 0

    return backward
