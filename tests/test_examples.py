"""The examples: they run, they learn, and their arithmetic is what they say."""

import re

import numpy as np
import pytest

import fastbp as fb
from fastbp.examples import cartpole, digits, njit_loop, per_sample_norms, surrogate


def test_the_equations_of_motion_hold():
    """Newton's for cart and pole together, and for the rotation of the pole; frictionless (Barto, Sutton & Anderson)."""
    rng = np.random.default_rng(0)
    ml = cartpole.POLE * cartpole.HALF_LENGTH
    for state in rng.uniform(-1, 1, (50, 4)):
        for push_right in (True, False):
            after = np.empty(4)
            cartpole.advance(state, push_right, after)
            speed, acceleration, spin, turn = (after - state) / cartpole.SECONDS
            sine, cosine = np.sin(state[2]), np.cos(state[2])
            force = cartpole.FORCE if push_right else -cartpole.FORCE
            total = (cartpole.CART + cartpole.POLE) * acceleration + ml * (turn * cosine - spin**2 * sine)
            assert total == pytest.approx(force)
            torque = 4 / 3 * cartpole.HALF_LENGTH * turn + acceleration * cosine
            assert torque == pytest.approx(cartpole.GRAVITY * sine)
            assert (speed, spin) == pytest.approx((state[1], state[3]))


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [((0, 0, 0, 0), True), ((2.39, 1, 0, 0), False), ((-2.39, -1, 0, 0), False), ((0, 0, 0.2, 1), False)],
)
def test_an_episode_ends_where_cart_or_pole_went_too_far(state, goes_on):
    assert cartpole.advance(np.array(state, np.float64), True, np.empty(4)) == goes_on


def test_advantages_are_returns_to_go_above_their_mean():
    lengths = np.array([2, 1, 4])
    out = np.empty((4, 3), np.float32)
    cartpole.advantages(lengths, out)
    d = cartpole.DISCOUNT
    returns = np.array(
        [[1 + d, 1, 1 + d + d**2 + d**3], [1, np.nan, 1 + d + d**2], [np.nan, np.nan, 1 + d], [np.nan] * 2 + [1]]
    )
    above = np.nan_to_num(returns - np.nanmean(returns, axis=1, keepdims=True))
    above[np.isnan(returns)] = 0
    np.testing.assert_allclose(out, above / np.sqrt((above**2).sum() / 7), rtol=1e-4, atol=1e-6)


def test_the_delta_is_the_gradient_of_the_cost():
    rng = np.random.default_rng(1)
    logits, advantage, went_right = rng.standard_normal((6, 2)), rng.standard_normal(6), np.arange(6) % 2

    def cost(z):
        chances = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return -(advantage * np.log(chances[np.arange(6), went_right])).sum() / 5

    delta, h = cartpole.policy_gradient(logits, went_right, advantage, 5), 1e-6
    for place in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[place] = h
        assert delta[place] == pytest.approx((cost(logits + shift) - cost(logits - shift)) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pole_is_balanced_after_learning(seed):
    net = cartpole.policy(seed)
    outcome = cartpole.train(net, 60, 32, seed)
    assert outcome.returns[0] < 100
    room = cartpole.room_for(cartpole.TEST_EPISODES)
    assert cartpole.test(cartpole.training_of(net, cartpole.TEST_EPISODES), room, seed + 1) >= 475


def test_a_seed_makes_the_run():
    outcomes = [cartpole.train(cartpole.policy(3), 5, 8, seed) for seed in (3, 3, 4)]
    assert outcomes[0].returns.tobytes() == outcomes[1].returns.tobytes() != outcomes[2].returns.tobytes()
    assert outcomes[0].steps == round(outcomes[0].returns.sum() * 8)


def test_the_program_prints_what_was_learned(capsys, monkeypatch):
    monkeypatch.setattr(cartpole.importlib.util, "find_spec", lambda name: None)
    assert cartpole.main(["--updates", "3", "--episodes", "4", "--seed", "1", "--compare"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"fastbp: 3 updates, [\d,]+ steps in [\d.]+ s: \d+ updates/s, [\d,]+ steps/s", said)
    assert re.search(r"test: mean return [\d.]+ of 500 over 100 episodes", said)
    assert "PyTorch: skipped, it is not installed: pip install torch" in said


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_the_program_refuses_counts_below_1(text, capsys):
    with pytest.raises(SystemExit):
        cartpole.main(["--updates", text])
    assert f"argument --updates: got '{text}', expected an integer of at least 1" in capsys.readouterr().err


def test_pytorch_learns_by_the_same_algorithm():
    torch = pytest.importorskip("torch")
    from fastbp.examples import cartpole_torch

    net = cartpole.policy(0)
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            cartpole_torch.model_of(net)(torch.from_numpy(x)), net.predict(x), rtol=1e-4, atol=1e-5
        )
    assert cartpole_torch.train(net, 40, 16, 0).returns[-5:].mean() > 300


def said_by(example, capsys, *arguments):
    assert example.main(*arguments) == 0
    return capsys.readouterr().out


def test_digits_are_learned_saved_and_exported(capsys, tmp_path):
    for library in ("sklearn", "safetensors", "onnx"):
        pytest.importorskip(library)
    said = said_by(digits, capsys, [str(tmp_path)])
    assert float(re.search(r"rows held out: ([\d.]+)", said)[1]) > 0.95
    assert "(the same bits when read again)" in said
    assert {file.name for file in tmp_path.iterdir()} == {"digits.safetensors", "digits.onnx"}


def test_a_loop_in_machine_code_stops_at_the_best_epoch(capsys):
    said = said_by(njit_loop, capsys)
    rate, accuracy = re.search(r"at the end ([\d.]+); accuracy ([\d.]+)", said).groups()
    assert float(rate) == 0.02 / 2**4
    assert float(accuracy) > 0.93


def test_a_loop_in_machine_code_leaves_the_best_parameters():
    (x, y), (xv, yv) = njit_loop.spirals(200, 0), njit_loop.spirals(100, 1)
    net = fb.Sequential(fb.Dense(2, 16, "tanh"), fb.Dense(16, 3))
    training = net.training("softmax_cross_entropy", fb.Adam(0.1), batch_size=50)
    costs, best = njit_loop.learn(training, x, y, xv, yv, 200, 3, 2)
    assert best == costs.argmin() < len(costs) - 1
    assert net.evaluate(xv, yv) == costs[best]


def test_a_surrogate_is_chosen_among_architectures(capsys):
    errors = [float(e) for e in re.findall(r"error +([\d.]+) m", said_by(surrogate, capsys, 2000, 30))]
    assert len(errors) == len(surrogate.SHAPES)
    assert min(errors) < 3


def test_the_simulation_is_a_parabola_without_drag():
    assert surrogate.distance(20.0, 0.7, 0.0, 3.0) == pytest.approx(20.0**2 * np.sin(1.4) / 9.81, rel=2e-3)


def test_norms_of_samples_are_those_of_their_gradients():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    net = fb.Sequential(fb.Dense(5, 7, "tanh"), fb.Dense(7, 6, "relu"), fb.Dense(6, 3), dtype="float64")
    pairs = per_sample_norms.two_matrices(net, x, y)
    np.testing.assert_allclose(per_sample_norms.norms(pairs), per_sample_norms.one_by_one(net, x, y), rtol=1e-12)
    for (delta, a), clipped in zip(pairs, per_sample_norms.clipped_sum(pairs, 0.5), strict=True):
        factors = np.minimum(1, 0.5 / per_sample_norms.norms(pairs))
        expected = sum(f * np.outer(d, row) for f, d, row in zip(factors, delta, a, strict=True))
        np.testing.assert_allclose(clipped, expected, atol=1e-12)


def test_norms_of_samples_are_printed(capsys):
    pytest.importorskip("sklearn")
    said = said_by(per_sample_norms, capsys)
    assert float(re.search(r"largest difference ([\d.e+-]+)", said)[1]) < 1e-4


def test_the_comparison_with_scikit_learn_prints_a_table(monkeypatch, capsys):
    sklearn_compare = pytest.importorskip("fastbp.examples.sklearn_compare")
    x, y = sklearn_compare.california_like(300)
    assert x.shape == (300, 8)
    assert y.max() == 5.0
    monkeypatch.setattr("sys.argv", ["sklearn_compare", "--seeds", "2", "--folds", "2", "--repetitions", "1", "iris"])
    sklearn_compare.main()
    figure = r"[\d.]+"
    seconds = rf"{figure} s \(\d+ threads?\)"
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"iris +fit +{seconds}, scikit-learn +{seconds}, +{figure} times as fast  score {figure}, "
        rf"scikit-learn {figure} \+- {figure}, p = {figure}",
        lines[0],
    )
    assert re.fullmatch(rf"geometric mean: {figure} times as fast, at least {figure}", lines[1])
