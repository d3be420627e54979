"""The epoch loop: any source of pieces, however it cuts an epoch, gives the bits of `fit`."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.network.samples import Samples
from fastbp.training.rows import Rows
from fastbp.training.run import Piece, Run

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((50, 6)).astype(np.float32), rng.integers(0, 3, 50)
LOSS, EPOCHS = fb.losses.softmax_cross_entropy, 3
FALLING = fb.Adam(fb.schedules.Cosine(1e-2, EPOCHS))


def network():
    return fb.Sequential(fb.Dense(6, 8, "relu"), fb.Dropout(0.2), fb.Dense(8, 3), seed=3)


class OtherSamples:
    """Hands out the rows as samples of their own: two minibatches of 8, then three, and so on."""

    steps_per_epoch, settings, samples = 7, {}, None

    def __init__(self, net, first_size):
        self.net, self.batch_size = net, first_size

    def pieces(self, epoch, run):
        self.batch_size = 8
        for first, last in ((0, 16), (16, 40), (40, 50)):
            samples = Samples(self.net, LOSS, X[first:last], Y[first:last])
            yield Piece(samples, 0, len(samples), steps=-(-len(samples) // 8))


SOURCES = {
    "rows": lambda net: Rows(Samples(net, LOSS, X, Y), 8, shuffled=False),
    "samples of their own": lambda net: OtherSamples(net, 8),
    "minibatches that grow": lambda net: OtherSamples(net, 2),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_bits_do_not_depend_on_pieces(source):
    net, twin = network(), network()
    run = Run(net, SOURCES[source](net), LOSS, FALLING, EPOCHS)
    for epoch in range(EPOCHS):
        run.epoch(epoch)
    expected = twin.fit(X, Y, optimizer=FALLING, batch_size=8, epochs=EPOCHS, shuffle=False)
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert (run.history.cost, run.history.learning_rate) == (expected.cost, expected.learning_rate)
    assert run.history.steps == expected.steps == 7 * EPOCHS


def test_what_is_not_finite_is_named_by_its_step():
    net, x = network(), np.where(np.arange(50)[:, None] == 19, np.nan, X)
    run = Run(net, Rows(Samples(net, LOSS, x, Y), 8, shuffled=False), LOSS, FALLING, 1)
    with pytest.raises(ValueError, match="row 19"):
        run.epoch(0)
    run = Run(network(), OtherSamples(net, 8), LOSS, fb.SGD(1e30), 1)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step [23]"):
        run.epoch(0)


def test_rows_are_cut_where_the_run_asks_for_it():
    net = network()
    rows, run = Rows(Samples(net, LOSS, X, Y), 8, shuffled=True), type("", (), {"net": net, "steps_at_once": 3})
    pieces = list(rows.pieces(0, run))
    assert [(piece.first, piece.last, piece.steps) for piece in pieces] == [(0, 24, 3), (24, 48, 3), (48, 50, 1)]
    assert sorted(pieces[0].order) == list(range(50))
    assert all(piece.order is pieces[0].order for piece in pieces)
