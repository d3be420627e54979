"""Arrays from frames, tensors and whatever else holds numbers: what is used as it is, what is converted, what is refused."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.data.arrays import column_titles, is_array, real_array

pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))

X = np.asfortranarray(np.random.default_rng(0).standard_normal((40, 3)), np.float32)
TITLES = ["a", "b", "c"]
FRAMES = {
    "pandas": lambda columns: pandas.DataFrame(columns),
    "polars": lambda columns: polars.DataFrame(columns),
    "pyarrow": lambda columns: pyarrow.table(columns),
    "record batch": lambda columns: pyarrow.record_batch(columns),
}
every_library = pytest.mark.parametrize("library", FRAMES)


def array(x):
    return real_array("x", x, "numbers")


def missing(library, values):
    """A column of optional values, None where one is missing."""
    return pandas.array(values) if library == "pandas" else values


class DLPackOnly:
    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


@every_library
def test_a_frame_is_the_matrix_of_its_columns(library):
    frame = FRAMES[library]({title: X[:, i] for i, title in enumerate(TITLES)})
    assert array(frame).dtype == np.float32
    np.testing.assert_array_equal(array(frame), X)
    assert column_titles(frame) == TITLES


@pytest.mark.parametrize("frame", [pandas.DataFrame(X, columns=TITLES, copy=False), polars.from_numpy(X, TITLES)])
def test_a_frame_of_one_block_is_not_copied(frame):
    assert np.shares_memory(array(frame), X)


def test_columns_and_tensors_are_not_copied():
    numbers = np.arange(5.0)
    for column in (
        pandas.Series(numbers, copy=False),
        polars.Series(numbers),
        pyarrow.array(numbers),
        DLPackOnly(numbers),
    ):
        found = array(column)
        np.testing.assert_array_equal(found, numbers)
        assert found.ctypes.data == array(column).ctypes.data  # no new array either time
    assert np.shares_memory(array(DLPackOnly(numbers)), numbers)


def test_a_torch_tensor_is_not_copied():
    torch = pytest.importorskip("torch")
    assert np.shares_memory(array(torch.from_numpy(X)), X)
    with pytest.raises(TypeError, match=r"x: got what NumPy makes no array of \(.*grad.*\), expected numbers"):
        array(torch.zeros(3, requires_grad=True))


class RequiresGrad:
    """A tensor of PyTorch's that requires grad, as NumPy meets it."""

    requires_grad, ndim = True, 2

    def __len__(self):
        return 4

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def test_a_tensor_that_requires_grad_is_refused_by_name_wherever_it_comes_in():
    net, ones = fb.Sequential(fb.Dense(3, 2)), np.ones((4, 3), np.float32)
    before, tensor = net.parameters.copy(), RequiresGrad()
    calls = {
        "x": [lambda: net.predict(tensor), lambda: net.fit(tensor, [0, 1, 0, 1])],
        "y": [lambda: net.fit(ones, tensor), lambda: net.evaluate(ones, tensor)],
        "sample_weight": [lambda: net.fit(ones, [0, 1, 0, 1], sample_weight=tensor)],
        "output": [lambda: fb.losses.mean_squared_error(tensor, ones)],
        "weight_init": [lambda: fb.Dense(3, 2, weight_init=tensor)],
        "bias_init": [lambda: fb.Dense(3, 2, bias_init=tensor)],
        "weight": [lambda: setattr(net.layers[0], "weight", tensor)],
        "bias": [lambda: setattr(net.layers[0], "bias", tensor)],
    }
    for name, of_that_name in calls.items():
        for call in of_that_name:
            with pytest.raises(TypeError, match=rf"^{name}: got what NumPy makes no array of \(.*detach\(\)"):
                call()
    np.testing.assert_array_equal(net.parameters, before)


def test_a_frame_that_is_still_to_be_computed_is_refused_with_the_way_out():
    net, lazy = fb.Sequential(fb.Dense(3, 2)), polars.from_numpy(X, TITLES).lazy()
    for name, call in {
        "x": lambda: net.predict(lazy),
        "x ": lambda: net.fit(lazy, np.zeros(40, int)),
        "x  ": lambda: net.fit(lazy),
        "y": lambda: net.fit(X, lazy),
        "weight_init": lambda: fb.Dense(3, 2, weight_init=lazy),
    }.items():
        with pytest.raises(
            TypeError, match=rf"^{name.strip()}: got a LazyFrame, expected .*\.collect\(\) makes a frame"
        ):
            call()


def test_integers_of_128_bits_are_refused_by_the_name_of_their_column():
    frame = polars.DataFrame({"a": [1, 2], "b": [1, 2]}).with_columns(polars.col("b").cast(polars.Int128))
    with pytest.raises(TypeError, match=r"^x: got column 'b' of dtype Int128, expected a 2-D array of real numbers"):
        fb.Sequential(fb.Dense(2, 1)).predict(frame)
    with pytest.raises(TypeError, match=r"^y: got what NumPy makes no array of \(.*128.*\), expected labels or real"):
        fb.Sequential(fb.Dense(1, 2)).fit([[1.0], [2.0]], frame["b"])


def test_a_jax_array_is_not_copied():
    jax = pytest.importorskip("jax.numpy")
    x = jax.asarray(X)
    assert array(x).ctypes.data == array(x).ctypes.data
    np.testing.assert_array_equal(array(x), X)


@every_library
def test_columns_of_several_types_get_a_common_one(library):
    frame = FRAMES[library]({"a": [1, 2], "b": [True, False], "c": [0.5, 1.5]})
    assert array(frame).tolist() == [[1, 1, 0.5], [2, 0, 1.5]]


@every_library
@pytest.mark.parametrize("values", [[1, None], [0.5, None], [True, None]])
def test_a_missing_value_is_nan_and_refused_by_the_name_of_its_column(library, values):
    frame = FRAMES[library]({"a": [1, 2], "age": missing(library, values)})
    np.testing.assert_array_equal(array(frame), [[1, float(values[0])], [2, np.nan]])
    net = fb.Sequential(fb.Dense(2, 1))
    with pytest.raises(ValueError, match=r"x: got nan in row 1, column 1 \('age'\), expected finite numbers"):
        net.fit(frame, [1.0, 2.0], loss="mean_squared_error")


@every_library
@pytest.mark.parametrize("values", [["x", "y"], [np.datetime64("2020-01-01"), np.datetime64("2021-01-01")]])
def test_a_column_that_is_not_numeric_is_named(library, values):
    frame = FRAMES[library]({"a": [1, 2], "b": np.array(values)})
    with pytest.raises(TypeError, match=r"x: got column 'b' of dtype .+, expected numbers"):
        array(frame)
    with pytest.raises(TypeError, match=r"x: got column 'b' of dtype .+, expected numbers"):
        array(FRAMES[library]({"b": np.array(values)}))


def test_pandas_own_optional_types_are_numbers():
    frame = pandas.DataFrame({"a": pandas.array([1, 2], "Int64"), "b": pandas.array([True, False], "boolean")})
    assert array(frame).tolist() == [[1, 1], [2, 0]]
    assert array(frame["a"]).tolist() == [1, 2]


@every_library
def test_a_frame_trains_and_predicts_as_its_array_does(library):
    y = (X[:, 0] > 0).astype(np.int64)
    frame = FRAMES[library]({title: X[:, i] for i, title in enumerate(TITLES)})
    column = FRAMES[library]({"y": y})["y"]
    net, twin = (fb.Sequential(fb.Dense(3, 4, "relu"), fb.Dense(4, 2)) for _ in range(2))
    net.fit(frame, column, epochs=2, validation_data=(frame, column))
    twin.fit(X, y, epochs=2, validation_data=(X, y))
    assert net.parameters.tobytes() == twin.parameters.tobytes()
    assert net.predict(frame).tobytes() == twin.predict(X).tobytes()
    assert net.evaluate(frame, column) == twin.evaluate(X, y)


def test_what_is_one_array():
    assert all(map(is_array, [X, pandas.DataFrame(X), polars.Series([1.0]), pyarrow.array([1.0]), DLPackOnly(X)]))
    assert not any(map(is_array, [[1.0], (X, X), iter([X]), "text", None]))


def test_fastbp_imports_none_of_the_libraries(run_python):
    run_python(
        "import sys, fastbp; assert not {'pandas', 'polars', 'pyarrow', 'torch', 'matplotlib', 'tqdm'} & set(sys.modules)"
    )
