"""explain: what it counts, what it asks of the planner, and that it leaves the network alone. No test looks at how long
anything took."""

import html
import math

import numba
import numpy as np
import pytest
from numba import njit

import fastbp as fb
from fastbp.gemm import peak
from fastbp.gemm.isa import blocks_for, target_isa
from fastbp.inspect import probe
from fastbp.inspect.report import Explanation, Row

BLOCKS = blocks_for(numba.types.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A few steps are as good as a second of them here; one thread, unless a test wants more."""
    monkeypatch.setattr(probe, "SECONDS", 0.0)
    monkeypatch.setattr(probe, "RUN_SECONDS", 1e-3)
    monkeypatch.setattr(peak, "BURSTS", 1)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def small_net(**options):
    return fb.Sequential(fb.Dense(20, 16, "relu"), fb.Dense(16, 3), **options)


def rows_by_work(found):
    return {(row.operation.split(" ")[0], row.work): row for row in found.rows}


def share_filled(m, n):
    """Of the tiles of a product on one thread: whole tiles of MR rows, the smallest that hold the rest; whole vectors."""
    rest = min((rows for rows in target_isa().row_counts if rows >= m % BLOCKS.MR), default=0) if m % BLOCKS.MR else 0
    return m * n / ((m // BLOCKS.MR * BLOCKS.MR + rest) * math.ceil(n / BLOCKS.lanes) * BLOCKS.lanes)


# ---------------------------------------------------------------------------------------------------------------- counts


def test_flops_bytes_and_filled_tiles_of_a_small_network():
    found = small_net().explain(8, optimizer="sgd")
    wanted = [  # operation, work, flops, bytes, (m, n) of the product
        ("", "minibatch", 0, 4 * 2 * 160, None),
        ("0 Dense 20-16", "forward", 5120, 4 * (160 + 320 + 16 + 128), (8, 16)),
        ("1 Dense 16-3", "forward", 768, 4 * (128 + 48 + 3 + 24), (8, 3)),
        ("", "cost", 0, 4 * (24 + 24) + 8 * 8, None),
        ("1 Dense 16-3", "backward", 768, 4 * (24 + 48 + 128 + 128), (8, 16)),
        ("1 Dense 16-3", "gradient", 768, 4 * (24 + 128 + 2 * 51), (3, 16)),
        ("0 Dense 20-16", "gradient", 5120, 4 * (128 + 160 + 2 * 336), (20, 16)),
    ]
    *rows, rest, step = found.rows
    for row, (operation, work, flops, traffic, product) in zip(rows, wanted, strict=True):
        assert (row.operation, row.work, row.flops, row.bytes) == (operation, work, flops, traffic)
        assert row.fill == (share_filled(*product) if product else 0)
        assert row.limit == pytest.approx(flops / found.peak)
    assert (rest.work, step.work) == ("calls and the rest", "step")
    assert step.flops == sum(row.flops for row in rows)
    assert step.bytes == sum(row.bytes for row in rows)


def test_the_rows_take_as_long_as_the_step():
    found = small_net().explain(8)
    *rows, step = found.rows
    assert sum(row.seconds for row in rows) == pytest.approx(step.seconds)
    assert all(row.seconds > 0 for row in rows)
    assert found.seconds_per_step == step.seconds
    assert found.peak == peak.fma_peak("float32", 1)


def test_moments_and_stored_gradients_are_counted():
    stored = rows_by_work(small_net().explain(8, optimizer=fb.Adam(clip_norm=1.0)))
    assert stored["0", "gradient"].bytes == 4 * (128 + 160 + 336)
    assert stored["", "update"].bytes == 4 * 387 * (
        3 + 2 * 2 + 1
    )  # p, g, m, v; written but for g; g once more for its norm
    consumed = rows_by_work(small_net().explain(8, optimizer="adam"))
    assert consumed["0", "gradient"].bytes == 4 * (128 + 160 + 6 * 336)
    assert ("", "update") not in consumed


def test_pre_activations_that_are_kept_are_counted():
    net = fb.Sequential(fb.Dense(20, 16, "gelu"), fb.Dense(16, 3))
    assert rows_by_work(net.explain(8))["0", "forward"].bytes == 4 * (160 + 320 + 16 + 2 * 128)


# ----------------------------------------------------------------------------------------------------------------- paths


def test_paths_change_with_the_batch_size():
    few, many = (rows_by_work(small_net().explain(K, optimizer="sgd")) for K in (8, 8 * BLOCKS.MR + 1))
    assert (few["0", "forward"].packs, many["0", "forward"].packs) == ("", "B")
    assert few["1", "forward"].packs == "B"  # weights that lie the other way round are packed in any case
    assert {row.gradients for row in few.values()} == {"", "consumed"}


def test_gradients_of_large_minibatches_are_stored():
    found = rows_by_work(small_net().explain(BLOCKS.KC + 1, optimizer="sgd"))
    assert found["1", "gradient"].gradients == "stored"
    assert found["", "update"].bytes == 4 * 387 * 3


def test_threads_share_what_is_worth_it():
    numba.set_num_threads(2)
    net = fb.Sequential(fb.Dense(256, 128, "relu"), fb.Dense(128, 10))
    found = net.explain(32, optimizer="sgd")
    rows = rows_by_work(found)
    assert found.threads == rows["0", "forward"].threads == 2
    assert math.prod(rows["0", "forward"].grid) == 2
    assert (rows["1", "forward"].threads, rows["1", "forward"].grid) == (1, (1, 1))
    assert rows["0", "forward"].limit == pytest.approx(rows["0", "forward"].flops / found.peak)


# ------------------------------------------------------------------------------------------------------------- all kinds


@njit
def doubled(x, parameters, out):
    out[:] = parameters[0] * x


@njit
def doubled_backward(delta, x, out, parameters, gradients, delta_x):
    gradients[0] = (delta * x).sum()
    delta_x[:] = parameters[0] * delta


def test_dropout_and_layers_of_the_users():
    net = fb.Sequential(
        fb.Dense(6, 5, "tanh"), fb.Dropout(0.5), fb.Custom(5, 5, doubled, doubled_backward, [2.0]), fb.Dense(5, 1),
        dtype="float64",
    )  # fmt: skip
    rows = rows_by_work(net.explain(4, loss="mean_squared_error"))
    assert rows["1", "forward"].bytes == rows["1", "backward"].bytes == 8 * 2 * 20
    assert rows["2", "forward"].bytes == 8 * (20 + 1 + 20)
    assert rows["2", "backward"].bytes == 8 * 2 * (20 + 20 + 1)
    assert (rows["2", "backward"].bound, rows["2", "backward"].fill) == ("your functions", 0)
    assert rows["0", "backward"].bytes == 8 * 3 * 20  # the derivative alone
    assert rows["3", "gradient"].gradients == "stored"  # as there is a layer of the user's


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "huber", "poisson", "quantile", "mean_absolute_error"])
def test_targets_of_other_losses(loss):
    found = small_net(dtype="float64").explain(8, loss=loss)
    assert (found.dtype, found.batch_size) == ("float64", 8)
    assert rows_by_work(found)["", "cost"].bytes == 8 * 8 * 3 * 3


def test_a_schedule_and_a_loss_of_the_users():
    @njit
    def cost_row(output, y):
        return ((output - y) ** 2).sum()

    @njit
    def delta_row(output, y, delta):
        delta[:] = 2 * (output - y)

    schedule = fb.schedules.Exponential(0.1, 0.9)
    assert small_net().explain(8, loss=fb.losses.custom(cost_row, delta_row), optimizer=fb.SGD(schedule)).rows


# ------------------------------------------------------------------------------------------------------------- the table


def test_the_table_has_a_line_for_each_row():
    found = small_net().explain(8, optimizer="sgd")
    head, _, headings, *lines = str(found).splitlines()
    assert head.startswith("8 rows a step, float32, 1 thread, ")
    assert headings.split()[:2] == ["operation", "work"]
    assert len([line for line in lines if line]) == len(found.rows)
    assert "1 thread, straight, consumed" in lines[-4]


def test_the_table_says_when_threads_got_in_each_others_way():
    rows = (Row("", "calls and the rest", seconds=1e-6), Row("", "step", seconds=1e-6))
    together, apart = (Explanation(rows, peak, 1e11, 2, 1e-6, 8, "float32") for peak in (1e11, 2e11))
    assert "did not run side by side" in str(together)
    assert "did not run side by side" not in str(apart)


def test_a_notebook_shows_the_same_table():
    row = Row("0 Dense 20-16", "forward", 5120.0, 2496.0, 1e-6, 2e-6, 0.5, bound="<arithmetic>")
    found = Explanation((row, row, row), 1e9, 1e9, 1, 1e-5, 8, "float32")
    shown = found._repr_html_()
    cells = [html.unescape(text.split("<")[0]) for text in shown.split(">") if text.split("<")[0]]
    assert " ".join(cells).split() == " ".join(str(found).splitlines()).split()
    assert repr(found) == str(found)


def test_a_path_in_words():
    shared = Row("", "gradient", fill=1.0, threads=4, packs="AB", grid=(2, 2), gradients="stored")
    assert shared.path == "4 threads, 2 x 2, packs AB, stored"
    assert Row("", "forward", threads=2).path == "2 threads"
    assert Row("", "cost").path == ""
    assert Row("", "cost").share == 0


# ------------------------------------------------------------------------------------------------- what must not change


def test_the_network_stays_as_it_is():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 20)), rng.integers(0, 3, 40)
    net, other = small_net(), small_net()
    for each in (net, other):
        each.fit(x, y, optimizer="adam", epochs=2)
    before = (net.history, net.state.moments, net.epochs_shuffled, net.state.rule)
    for optimizer in ("adam", "sgd", fb.SGD(0.1, clip_norm=1.0)):
        net.explain(8, optimizer=optimizer)
    now = (net.history, net.state.moments, net.epochs_shuffled, net.state.rule)
    assert all(a is b for a, b in zip(before, now, strict=True))
    for name in ("parameters", "moments", "counters", "gradients"):
        assert getattr(net.state, name).tobytes() == getattr(other.state, name).tobytes(), name
    for each in (net, other):
        each.fit(x, y, optimizer="adam", epochs=2)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size: got 0, expected an integer >= 1"),
        ({"batch_size": 2.5}, TypeError, "batch_size: got 2.5, expected an integer >= 1"),
        ({"loss": "hinge"}, ValueError, "loss: got 'hinge', expected one of softmax_cross_entropy"),
        ({"optimizer": "newton"}, ValueError, "optimizer: got 'newton', expected one of sgd"),
    ],
)
def test_mistakes(arguments, error, message):
    with pytest.raises(error) as raised:
        small_net().explain(**arguments)
    assert str(raised.value).startswith(message)


def test_a_last_activation_that_the_loss_applies_itself():
    net = fb.Sequential(fb.Dense(4, 2, "sigmoid"))
    with pytest.raises(ValueError, match="loss: got softmax_cross_entropy after a last layer with sigmoid"):
        net.explain(8)


def test_parameters_that_are_not_finite():
    net = small_net()
    net.parameters[:] = np.nan
    with pytest.raises(FloatingPointError, match="explain: got a cost of NaN or infinity"):
        net.explain(8)
