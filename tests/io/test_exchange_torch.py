"""Modules of PyTorch in both directions; PyTorch's forward values and gradients against fastbp's."""

import numpy as np
import pytest
from reference import numbers

import fastbp as fb

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
DTYPES = tuple(TOLERANCE)
K, INPUTS, OUTPUTS = 33, 5, 4


def network(activation="relu", dtype="float32", last="identity", dropout=0.25):
    dense = fb.Dense(INPUTS, 7, activation), fb.Dense(7, 6, activation, bias=False), fb.Dense(6, OUTPUTS, last)
    net = fb.Sequential(dense[0], fb.Dropout(dropout), *dense[1:], dtype=dtype, seed=1)
    net.layers[0].bias = numbers((7,), np.dtype(np.float64))
    return net


def data(dtype, columns=INPUTS, scale=4.0, seed=3):
    return (scale * numbers((K, columns), np.dtype(np.float64), seed=seed)).astype(dtype)


def assert_close(found, expected):
    """found: of PyTorch."""
    found = found.detach().numpy()
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= TOLERANCE[expected.dtype.name] * np.abs(expected).max()


# ------------------------------------------------------------------------------------------ forward values, gradients


class ExactHardsigmoid(nn.Module):
    def forward(self, z):
        return torch.clamp(z + 3, 0, 6) / 6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", fb.activations.names)
def test_forward_values_and_all_gradients(activation, dtype):
    net = network(activation, dtype, last=activation, dropout=0.0)
    module = net.to_torch()
    if activation == "hard_sigmoid":  # PyTorch's has the derivative 1/6 in float32 alone
        module = nn.Sequential(*[ExactHardsigmoid() if type(m) is nn.Hardsigmoid else m for m in module])
    for scale in (1, 40):
        x, delta = data(dtype, scale=scale), data(dtype, OUTPUTS, seed=4)
        given = torch.from_numpy(x).requires_grad_()
        output = module(given)
        assert_close(output, net.forward(x))
        module.zero_grad()
        output.backward(torch.from_numpy(delta))
        assert_close(given.grad, net.backward(delta, input_delta=True))
        linear = [inner for inner in module if isinstance(inner, nn.Linear)]
        dense = [layer for layer in net.layers if isinstance(layer, fb.Dense)]
        for theirs, ours in zip(linear, dense, strict=True):
            assert_close(theirs.weight.grad, ours.weight_gradient)
            if ours.bias is not None:
                assert_close(theirs.bias.grad, ours.bias_gradient)


def quantile(q):
    return lambda output, y: torch.maximum(q * (y - output), (q - 1) * (y - output)).mean()


LABELS = np.arange(K) % OUTPUTS
SHARES = np.exp(data("float64", OUTPUTS)) / np.exp(data("float64", OUTPUTS)).sum(axis=1, keepdims=True)
NUMBERS, ONES, COUNTS = data("float64", OUTPUTS, seed=9), np.eye(OUTPUTS)[LABELS], np.floor(np.abs(8 * SHARES))
LOSSES = {
    "softmax_cross_entropy of labels": (fb.losses.softmax_cross_entropy, nn.CrossEntropyLoss(), LABELS),
    "softmax_cross_entropy of probabilities": (fb.losses.softmax_cross_entropy, nn.CrossEntropyLoss(), SHARES),
    "label smoothing": (fb.losses.SoftmaxCrossEntropy(0.1), nn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    "binary_cross_entropy": (fb.losses.binary_cross_entropy, nn.BCEWithLogitsLoss(), ONES),
    "mean_squared_error": (fb.losses.mean_squared_error, nn.MSELoss(), NUMBERS),
    "mean_absolute_error": (fb.losses.mean_absolute_error, nn.L1Loss(), NUMBERS),
    "huber": (fb.losses.Huber(0.7), nn.HuberLoss(delta=0.7), NUMBERS),
    "poisson": (fb.losses.poisson, nn.PoissonNLLLoss(log_input=True), COUNTS),
    "quantile": (fb.losses.Quantile(0.3), quantile(0.3), NUMBERS),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize(("ours", "theirs", "y"), LOSSES.values(), ids=LOSSES)
def test_costs_and_their_gradients(ours, theirs, y, scale, dtype):
    output = data(dtype, OUTPUTS, scale=scale, seed=6)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    given = torch.from_numpy(output).requires_grad_()
    cost = theirs(given, torch.from_numpy(y))
    cost.backward()
    found, delta = ours(output, y)
    assert cost.item() == pytest.approx(found, rel=TOLERANCE[dtype])
    assert_close(given.grad, delta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_log_likelihood(dtype):
    """fastbp's takes probabilities as they are, PyTorch's their logarithms."""
    shares = SHARES.astype(dtype)
    given = torch.from_numpy(shares).requires_grad_()
    cost = nn.NLLLoss()(given.log(), torch.from_numpy(LABELS))
    cost.backward()
    found, delta = fb.losses.negative_log_likelihood(shares, LABELS)
    assert cost.item() == pytest.approx(found, rel=TOLERANCE[dtype])
    assert_close(given.grad, delta)


# ----------------------------------------------------------------------------------------------------------- to PyTorch


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", fb.activations.names)
def test_there_and_back_keeps_layers_and_bits(activation, dtype):
    net = network(activation, dtype, last=activation)
    back = fb.Sequential.from_torch(net.to_torch(), seed=1)
    assert repr(back) == repr(net)
    assert back.parameters.tobytes() == net.parameters.tobytes()


def test_a_module_has_copies_in_evaluation_mode():
    net, random = network(), torch.get_rng_state()
    module = net.to_torch()
    assert (torch.get_rng_state() == random).all()
    assert [type(inner).__name__ for inner in module] == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    assert (module[2].p, module.training) == (0.25, False)
    with torch.no_grad():
        module[0].weight.zero_()
    assert net.layers[0].weight.any()


def test_names_of_the_state_dict_are_those_of_the_module():
    net = network()
    module = net.to_torch()
    assert list(net.state_dict()) == list(module.state_dict())
    module.load_state_dict({name: torch.from_numpy(array) for name, array in net.state_dict().items()})


def test_code_of_the_users_is_refused():
    from test_activations import bent, bent_derivative

    with pytest.raises(ValueError, match=r"to_torch: got Dense.*bent"):
        fb.Sequential(fb.Dense(2, 2, fb.activations.custom(bent, bent_derivative))).to_torch()


# --------------------------------------------------------------------------------------------------------- from PyTorch


def predicted(module, x):
    with torch.no_grad():
        return module.eval()(x)


def test_nested_modules_flatten_and_one_activation_used_twice():
    act = nn.Tanh()
    hidden = nn.Sequential(nn.Linear(6, 5), act, nn.Dropout(0.1), nn.Identity(), nn.Linear(5, 4), act)
    module = nn.Sequential(nn.Flatten(), hidden, nn.Linear(4, 2))
    x = torch.randn(8, 2, 3)
    net = fb.Sequential.from_torch(module)
    assert_close(predicted(module, x), net.predict(x.reshape(8, 6).numpy()))
    assert [repr(layer) for layer in net.layers][1] == "Dropout(0.1)"


def test_a_linear_alone_and_a_sequential_with_names():
    linear = nn.Linear(3, 2, dtype=torch.float64)
    assert fb.Sequential.from_torch(linear).dtype == np.float64
    named = nn.Sequential()
    named.add_module("stem", linear)
    named.add_module("act", nn.ReLU())
    assert repr(fb.Sequential.from_torch(named).layers[0]) == "Dense(3, 2, activation='relu')"


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_without_loss(half):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(half)
    for net in (fb.Sequential.from_torch(module), fb.Sequential.from_state_dict(module.state_dict())):
        assert net.dtype == np.float32
        assert (torch.from_numpy(net.layers[1].weight) == module[2].weight.float()).all()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Linear(2, 2), nn.BatchNorm1d(2)], r"module\[1\]: got BatchNorm1d.*, expected Linear"),
        ([nn.Linear(2, 2), nn.Softmax(dim=1)], r"module\[1\]: got Softmax.*logits need none"),
        ([nn.Linear(2, 2), nn.Sequential(nn.LeakyReLU(0.2))], r"module\[1\]\[0\]: got LeakyReLU"),
        ([nn.Linear(2, 2), nn.ELU(alpha=0.5)], r"module\[1\]: got ELU"),
        ([nn.Linear(2, 2), nn.Softplus(beta=2)], r"module\[1\]: got Softplus"),
        ([nn.Linear(2, 2), nn.Softplus(threshold=1)], r"module\[1\]: got Softplus"),
        ([nn.Linear(2, 2), nn.Dropout(0.5), nn.ReLU()], r"module\[2\]: got ReLU\(\), expected .* right after a Linear"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.Tanh()], r"module\[2\]: got Tanh\(\), expected one activation alone"),
        ([nn.ReLU(), nn.Linear(2, 2)], r"module\[0\]: got ReLU\(\), expected .* right after a Linear"),
        ([nn.Dropout(0.5), nn.Linear(2, 2)], r"module\[0\]: got Dropout"),
        ([nn.Flatten(0), nn.Linear(2, 2)], r"module\[0\]: got Flatten"),
        ([nn.Linear(2, 2), nn.Flatten()], r"module\[1\]: got Flatten"),
        ([nn.Linear(2, 2), nn.Linear(3, 2)], r"module\[1\].weight: got shape \(2, 3\), expected 2 inputs"),
        ([nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))], r"module\[0\]: got ParametrizedLinear"),
        ([nn.Linear(2, 2, device="meta")], r"module\[0\].bias: got a Parameter that NumPy cannot hold"),
        ([], r"module: got Sequential\(\), expected a torch.nn.Sequential with a Linear in it"),
    ],
)
def test_what_cannot_be_carried_over_is_named(modules, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fb.Sequential.from_torch(nn.Sequential(*modules))


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize("module", [Residual(nn.Linear(2, 2)), nn.LSTM(2, 2), None])
def test_modules_with_a_forward_of_their_own_are_refused(module):
    with pytest.raises(ValueError, match=r"module: got (?s:.*)from_state_dict reads the dense layers of any module"):
        fb.Sequential.from_torch(module)


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ["pt", "pth", "safetensors"])
def test_files_that_pytorch_wrote(tmp_path, ending):
    net, path = network(), tmp_path / f"net.{ending}"
    if ending == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(net.to_torch().to(torch.bfloat16).state_dict(), path)
        expected = {name: torch.from_numpy(a).bfloat16().float().numpy() for name, a in net.state_dict().items()}
    else:
        torch.save(net.to_torch().state_dict(), path)
        expected = net.state_dict()
    found = fb.Sequential.from_state_dict(path)
    for array, wanted in zip(found.state_dict().values(), expected.values(), strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("content", ["module", b"", b"hello", b"PK\3\4"])
def test_what_is_no_state_dict_is_refused_by_its_name(tmp_path, content):
    path = tmp_path / "net.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(network().to_torch(), path)
    with pytest.raises(ValueError, match=r"net.pt: got no state_dict, expected what torch.save\(module.state_dict"):
        fb.Sequential.from_state_dict(path)
    with pytest.raises(FileNotFoundError):
        fb.Sequential.from_state_dict(tmp_path / "none.pt")
