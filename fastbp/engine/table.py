"""A network as a table of operations: what compiled code reads and writes of it.

Both records are blocks of memory, eight bytes a field. An address of 0 means that there is none. Buffers have a row a
sample; `..._stride` is the distance of their rows in bytes.
"""

from typing import NamedTuple

VERSION = 6  # of these layouts; part of the name of the numba type that users' functions are compiled for


FORWARD, BACKWARD, GRADIENT = range(3)  # the work of an operation, as a clock counts it
MINIBATCH, COST, UPDATE, STEP = range(4)  # and, after all operations, the rest of a step; the last is the whole of it


class Network(NamedTuple):
    """The network as a whole, and the state of the step at hand."""

    address: int  # of this record itself: elsewhere it is a copy, whose addresses are another's
    operations: int  # `length` records of Operation, one after the other
    length: int
    inputs: int
    outputs: int
    parameters: int  # flat vectors of `size` elements
    gradients: int
    m: int
    v: int
    size: int
    kept_size: int  # elements from `parameters` on that are kept and restored together: parameters, then statistics
    batch_size: int
    x_buffer: int  # (batch_size, inputs): rows that had to be gathered or converted
    x_buffer_stride: int
    y_buffer: int  # (batch_size, outputs) targets, or batch_size int64 labels
    y_buffer_stride: int
    weight_buffer: int  # batch_size sample weights
    flops: float  # of a forward pass, a sample: of all operations, and of the largest
    largest_flops: float
    team: int  # memory of a team of as many threads as there may be
    work: int  # memory that parts of products pack into, `work_pitch` bytes each
    work_pitch: int
    loss: int  # code of the cost
    takes_labels: int
    loss_parameter: float
    loss_scale: float  # what the cost is multiplied by
    least_target: float  # what y may hold that are no labels
    most_target: float
    sum_tolerance: float  # by how much the sum of a row of them may differ from 1; infinity: it may be anything
    penalty: (
        float  # of the weights: penalty |w|^2 / 2 over the sum of the minibatch's sample weights is added to the cost
    )
    penalties: float  # the sum of penalty |w|^2 / 2 over the steps made, to which each step adds; not in any cost
    update: int  # codes of the optimizer: over flat vectors; over blocks of matrices; and of the Constants for those
    update_pass: int
    rule_constants: int
    constants: int  # address of the Constants of this step for weights, and after them of those for biases
    fuses: int  # 1: a step updates parameters as their gradients come, and stores none
    strips: int  # where each part of a product keeps a strip of gradients that are not stored
    h0: float
    h1: float
    h2: float
    h3: float
    weight_decay: float  # with a penalty, that of the step at hand
    clip_norm: float  # infinity: no clipping
    clip_value: float
    learning_rate: int  # address of a float64
    counters: int  # address of two int64: updates made, forward passes of training made
    seed: int
    x: int  # the minibatch at hand
    x_stride: int
    rows: int
    trains: int  # 1 in a forward pass of training, 0 in inference
    wants_input_delta: int
    # 0, or the address of int64 ticks to add to: FORWARD, BACKWARD, GRADIENT of each operation, then MINIBATCH to STEP
    clock: int
    updates: int  # 1 in a backward pass that updates, 0 in one that stores gradients
    turn: int  # 0, or a mark of the process in which a verb is at work with the Training
    raised: int  # the fields of a Raised: what a function of the user's raised in the call at hand
    raised_kind: int
    raised_value: int
    raised_traceback: int


class Operation(NamedTuple):
    """One operation; `forward(args, part, parts)`, `backward` and `gradient` are code, args the address of a Call.

    backward: from delta to input_delta, by the parameters as they are; then gradient, 0 where backward does it all: the
    gradients of the parameters, or their update.
    """

    forward: int
    backward: int
    gradient: int
    inputs: int
    outputs: int
    flops: float  # of the forward pass, a sample
    input: int  # 0: the minibatch itself
    input_stride: int
    output: int
    output_stride: int
    z: int
    z_stride: int
    delta: int  # dC/d(output), made dC/dz
    delta_stride: int
    input_delta: int  # dC/d(input), written by the backward pass
    input_delta_stride: int
    adds_to: int  # 0, or where input_delta is added once it is written: the delta of an output with several readers
    adds_to_stride: int
    parameters: int  # `parameter_count` of them; the first `decayed_count` are subject to weight decay
    parameter_count: int
    decayed_count: int
    gradients: int
    at: int  # the place of the parameters in the flat vectors, in bytes
    statistics: int  # what the operation keeps beside its parameters and changes itself
    scratch: int  # memory whose content the next operation overwrites
    own: int  # address of a record of the operation's own
    derivative: int  # the backward pass of its activation, where this operation applies it to `delta` itself
    stored: int  # what that derivative is computed from
    stored_stride: int
    below: int  # the backward pass of the operation below, where this one applies it to `input_delta`
    below_stored: int
    below_stored_stride: int
    number: int  # its place in the table, a key of its random numbers


class Call(NamedTuple):
    """What an operation's code is given."""

    network: int
    operation: int


NETWORK = {name: 8 * i for i, name in enumerate(Network._fields)}
AT_RAISED = NETWORK["raised"]
OPERATION = {name: 8 * i for i, name in enumerate(Operation._fields)}
OPERATION_BYTES = 8 * len(Operation._fields)
