"""An operation of the user's in the table: two `@njit` functions on whole minibatches, on one thread.

    forward(x, parameters, out)
    backward(delta, x, out, parameters, gradients, delta_x)

x (K, inputs), out and delta (K, outputs), delta_x (K, inputs) are arrays, parameters and gradients flat vectors; out, gradients
and delta_x are to be overwritten. What they raise is noted in the network.
"""

from fastbp.compiler.jit import inner
from fastbp.compiler.llvm import array_at, fetch
from fastbp.compiler.raised import noting
from fastbp.engine.table import AT_RAISED, Call, Network, Operation


def custom_forward(real, function):
    @inner
    def call_function(args, part):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        if part == 0:
            address, stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
            x = array_at(address, (t.rows, o.inputs), stride, real)
            out = array_at(o.output, (t.rows, o.outputs), o.output_stride, real)
            function(x, array_at(o.weights, (o.weight_count,), 0, real), out)

    def forward(args, part, parts):
        noting(fetch(Call, args).network + AT_RAISED, call_function, (args, part))
        return 0

    return forward


def custom_backward(real, function):
    @inner
    def call_function(args, part):
        c = fetch(Call, args)
        t, o = fetch(Network, c.network), fetch(Operation, c.operation)
        if part == 0:
            address, stride = (t.x, t.x_stride) if o.input == 0 else (o.input, o.input_stride)
            x = array_at(address, (t.rows, o.inputs), stride, real)
            out = array_at(o.output, (t.rows, o.outputs), o.output_stride, real)
            delta = array_at(o.delta, (t.rows, o.outputs), o.delta_stride, real)
            delta_x = array_at(o.input_delta, (t.rows, o.inputs), o.input_delta_stride, real)
            parameters = array_at(o.weights, (o.weight_count,), 0, real)
            gradients = array_at(o.grad_w, (o.weight_count,), 0, real)
            function(delta, x, out, parameters, gradients, delta_x)

    def backward(args, part, parts):
        noting(fetch(Call, args).network + AT_RAISED, call_function, (args, part))
        return 0

    return backward
