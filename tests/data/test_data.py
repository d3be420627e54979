from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.data import Standardizer, train_validation_split
from fastbp.data.convert import as_input, as_labels, as_matrix, as_targets, as_weights, first_non_finite, same_length

REAL_DTYPES = ["?", "u1", "i2", "i8", "u8", "f2", "f4", "f8", ">f4", "g"]


class Sparse:
    """Has what scipy.sparse matrices are known by."""

    nnz = 3

    def toarray(self):
        raise AssertionError("a sparse matrix is not made dense without asking")


class Frame:
    """Has what pandas frames are read by."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


class TestAsMatrix:
    @pytest.mark.parametrize("dtype", REAL_DTYPES)
    def test_a_numpy_array_comes_back_as_it_is(self, dtype):
        x = np.ones((3, 4), dtype)
        for view in (x, x.T, x[::-1, ::2], np.asfortranarray(x)):
            assert as_matrix("x", view) is view

    def test_a_subclass_comes_back_plain_on_the_same_memory(self):
        x = np.arange(6.0).reshape(2, 3)
        found = as_matrix("x", x.view(np.matrix))
        assert type(found) is np.ndarray
        assert np.shares_memory(found, x)

    def test_lists_frames_and_unmasked_arrays_are_converted(self):
        for x in ([[1, 2], [3, 4]], Frame(np.array([[1, 2], [3, 4]])), np.ma.array([[1, 2], [3, 4]], mask=False)):
            found = as_matrix("x", x, columns=2)
            assert type(found) is np.ndarray
            assert found.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize(
        ("x", "got"),
        [
            (None, "got None"),
            ("digits", "got str of dtype <U6"),
            ([["a", "b"]], "got list of dtype <U1"),
            ([[1, None]], "got list of dtype object"),
            (np.ones((2, 2), complex), "got ndarray of dtype complex128"),
            (np.zeros((2, 2), "M8[s]"), "dtype datetime64"),
            (np.zeros((2, 2), "m8[s]"), "dtype timedelta64"),
            (np.zeros((2, 2), [("a", "f4")]), "got ndarray of dtype"),
            ([[10**30]], "dtype object"),
            (Sparse(), r"got a sparse matrix \(Sparse\)"),
        ],
    )
    def test_what_holds_no_real_numbers_is_a_type_error(self, x, got):
        with pytest.raises(TypeError, match=f"^x: .*{got}.*, expected a "):
            as_matrix("x", x)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (3.0, r"got shape \(\), expected two dimensions \(rows, columns\)$"),
            (np.ones(3), r"got shape \(3,\), expected two dimensions .*; a single sample x is x\[None, :\]"),
            (np.ones((2, 3, 4)), r"got shape \(2, 3, 4\), expected two dimensions"),
            (np.ones((0, 3)), r"got shape \(0, 3\), expected at least one row and one column"),
            (np.ones((3, 0)), r"got shape \(3, 0\), expected at least one row"),
            (np.ones((3, 5)), r"got shape \(3, 5\), expected 4 columns"),
            ([[1, 2], [3]], r"got what NumPy makes no array of \(.*\), expected a 2-D array of real numbers"),
            (np.ma.array(np.ones((2, 4)), mask=np.eye(2, 4, 1)), r"got a masked entry at \(0, 1\), expected .*missing"),
        ],
    )
    def test_other_shapes_are_value_errors(self, x, message):
        with pytest.raises(ValueError, match=f"^x: {message}"):
            as_matrix("x", x, columns=4)


class TestAsInput:
    @pytest.mark.parametrize(("dtype", "read"), [
        ("?", "?"), ("u1", "u1"), ("i8", "i8"), ("f4", "f4"), ("f8", "f8"), ("f2", "f4"), (">f2", "f4"), (">f4", "f8"),
        (">i2", "f8"), ("g", "f8"),
    ])  # fmt: skip
    def test_what_compiled_code_reads_comes_back_as_it_is_and_the_rest_as_floats(self, dtype, read):
        x = np.ones((3, 4), dtype)
        found = as_input("x", x, 4)
        assert found.dtype == read
        assert np.array_equal(found, x)
        assert (found is x) == (dtype == read)

    def test_the_shape_is_checked(self):
        with pytest.raises(ValueError, match=r"x: got shape \(3, 4\), expected 5 columns"):
            as_input("x", np.ones((3, 4)), 5)


class TestAsLabels:
    @pytest.mark.parametrize("dtype", REAL_DTYPES)
    def test_whole_numbers_of_any_dtype(self, dtype):
        found = as_labels("y", np.array([0, 1, 1, 0], dtype)[::-1], 2)
        assert found.dtype == np.int64
        assert found.flags.c_contiguous
        assert found.tolist() == [0, 1, 1, 0]

    def test_no_copy_of_what_is_right_already(self):
        y = np.array([2, 0, 1])
        assert as_labels("y", y, 3) is y

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([0, 1, 3], "got 3 in row 2, expected integer labels from 0 to 2"),
            ([0, -1, 3], "got -1 in row 1"),
            ([0, 1.5], "got 1.5 in row 1"),
            ([np.nan, 1], "got nan in row 0"),
            ([0, np.inf], "got inf in row 1"),
            (np.array([0, 2**64 - 1], np.uint64), "got 18446744073709551615 in row 1"),
            ([], "got no entries, expected integer labels from 0 to 2"),
            ([[0, 1]], r"got shape \(1, 2\), expected one dimension$"),
            ([[0], [1]], r"got shape \(2, 1\), expected one dimension; y.ravel\(\) has it"),
        ],
    )
    def test_bad_labels_are_named_with_their_row(self, y, message):
        with pytest.raises(ValueError, match=f"^y: {message}"):
            as_labels("y", y, 3)

    def test_text_is_a_type_error(self):
        with pytest.raises(TypeError, match="y: got list of dtype <U3, expected integer labels from 0 to 2"):
            as_labels("y", ["cat", "dog"], 3)

    @given(st.lists(st.integers(-3, 12), min_size=1), st.integers(1, 10))
    def test_they_pass_exactly_when_all_are_classes(self, y, classes):
        if all(0 <= label < classes for label in y):
            assert as_labels("y", y, classes).tolist() == y
        else:
            row = next(i for i, label in enumerate(y) if not 0 <= label < classes)
            with pytest.raises(ValueError, match=f"got {y[row]} in row {row},"):
                as_labels("y", y, classes)


class TestAsTargets:
    def test_one_column_may_be_1d(self):
        y = np.arange(3.0)
        found = as_targets("y", y, 3, 1)
        assert found.shape == (3, 1)
        assert np.shares_memory(found, y)

    def test_two_dimensions_come_back_as_they_are(self):
        y = np.ones((3, 2), np.float16)
        assert as_targets("y", y, 3, 2) is y

    @pytest.mark.parametrize(
        ("y", "columns", "message"),
        [
            (np.ones(4), 1, r"got shape \(4,\), expected \(3, 1\) or \(3,\)"),
            (np.ones(3), 2, r"got shape \(3,\), expected \(3, 2\)$"),
            (np.ones((2, 3)), 2, r"got shape \(2, 3\), expected \(3, 2\)"),
            ([[1], [2], [3, 4]], 1, "got what NumPy makes no array of"),
        ],
    )
    def test_other_shapes_are_value_errors(self, y, columns, message):
        with pytest.raises(ValueError, match=f"^y: {message}"):
            as_targets("y", y, 3, columns)

    def test_complex_is_a_type_error(self):
        with pytest.raises(TypeError, match=r"y: got .* dtype complex128, expected real numbers of shape \(3, 2\)"):
            as_targets("y", np.ones((3, 2), complex), 3, 2)


class TestAsWeights:
    def test_they_become_float64(self):
        found = as_weights("sample_weight", [1, 0, 2], 3)
        assert found.dtype == np.float64
        assert found.tolist() == [1, 0, 2]

    @pytest.mark.parametrize(
        ("w", "message"),
        [
            ([1, 2], "got 2 weights, expected 3, one for every row"),
            ([1, -0.5, -1], "got -0.5 in row 1, expected 3 finite weights >= 0"),
            ([1, 1, np.nan], "got nan in row 2"),
            ([np.inf, 1, 1], "got inf in row 0"),
            ([0, 0, 0], "got 0 in every row, expected at least one weight > 0"),
            ([[1], [1], [1]], "got shape"),
        ],
    )
    def test_bad_weights_are_named(self, w, message):
        with pytest.raises(ValueError, match=f"^sample_weight: {message}"):
            as_weights("sample_weight", w, 3)

    def test_text_is_a_type_error(self):
        with pytest.raises(TypeError, match="sample_weight: got list of dtype <U1, expected 3 finite weights"):
            as_weights("sample_weight", ["a", "b", "c"], 3)


class TestFirstNonFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
    def test_row_and_column_of_the_first(self, dtype, value):
        x = np.zeros((9000, 3), dtype, order="F")
        x[8999, 0] = value
        x[8000, 2] = value
        assert first_non_finite("x", x) == f"x: got {value} in row 8000, column 2, expected finite numbers"

    def test_a_vector_has_rows_only(self):
        assert first_non_finite("y", np.array([1, np.inf])) == "y: got inf in row 1, expected finite numbers"

    @pytest.mark.parametrize("x", [np.zeros((5, 2)), np.zeros((0, 2)), np.ones(3, np.uint8), np.ones((2, 2), bool)])
    def test_none_when_all_are_finite(self, x):
        assert first_non_finite("x", x) is None


def test_same_length():
    assert same_length(x=[1, 2], y=np.ones((2, 3)), sample_weight=None) == 2
    with pytest.raises(ValueError, match="sample_weight: got 3 rows, expected 2, as many as x has"):
        same_length(x=[1, 2], y=[1, 2], sample_weight=[1, 2, 3])


class TestSplit:
    @given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**32))
    def test_every_row_is_on_one_side(self, rows, share, seed):
        train, held_out = train_validation_split(rows, share, seed)
        assert sorted([*train, *held_out]) == list(range(rows))
        assert len(held_out) == min(max(round(rows * share), 1), rows - 1)
        assert (np.diff(train) > 0).all()
        assert (np.diff(held_out) > 0).all()

    @given(st.lists(st.integers(0, 4), min_size=2, max_size=100), st.floats(0.01, 0.99), st.integers(0, 99))
    def test_strata_are_held_out_in_proportion_and_keep_a_row(self, labels, share, seed):
        labels = np.array(labels)
        train, held_out = train_validation_split(len(labels), share, seed, labels)
        assert sorted([*train, *held_out]) == list(range(len(labels)))
        assert len(held_out) >= 1
        sizes = np.bincount(labels)
        if sizes.max() > 1:
            assert set(labels[train]) == set(labels)
            exact = sizes * len(labels[held_out]) / len(labels)
            if (sizes * min(share, 1 - share) >= 2).all():
                assert (abs(np.bincount(labels[held_out], minlength=len(sizes)) - exact) <= 1).all()

    def test_the_same_seed_gives_the_same_rows(self):
        first, again, other = (train_validation_split(100, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
        assert first == again
        assert first != other

    def test_labels_may_be_text(self):
        _, held_out = train_validation_split(10, 0.2, 0, np.array(["a", "b"] * 5))
        assert sorted(held_out % 2) == [0, 1]

    def test_classes_of_one_row_each_fall_back_to_plain_chance(self):
        train, held_out = train_validation_split(4, 0.5, 0, np.arange(4))
        assert len(train) == len(held_out) == 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((1, 0.5, 0), "rows: got 1, expected an integer >= 2"),
            ((10, 0.0, 0), "share: got 0.0, expected a finite number > 0 and < 1"),
            ((10, 1.0, 0), "share: got 1.0"),
            ((10, 0.5, 0, [1, 2]), "labels: got 2 rows, expected 10"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            train_validation_split(*arguments)


class TestStandardizer:
    @pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f2", "f4", "f8"])
    def test_columns_get_mean_0_and_deviation_1(self, dtype):
        x = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, (5000, 3)).astype(dtype)
        z = Standardizer.fit(x).transform(x, np.float64)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)

    def test_the_result_is_float32_unless_asked(self):
        x = np.asfortranarray(np.random.default_rng(0).normal(size=(10, 3)))
        z = Standardizer.fit(x).transform(x)
        assert z.dtype == np.float32
        assert z.flags.c_contiguous

    def test_a_constant_column_becomes_0_whatever_rounding_makes_of_its_mean(self):
        scaler = Standardizer.fit(np.full((1000, 1), 0.1))
        assert scaler.scale[0] == 1.0
        assert abs(scaler.transform(np.array([[0.1]]))[0, 0]) < 1e-12
        np.testing.assert_allclose(scaler.transform(np.array([[2.1]])), 2.0)

    def test_inverse_and_metadata_give_back_what_was_given(self):
        x = np.random.default_rng(0).normal(3, 5, (20, 4))
        scaler = Standardizer.fit(x)
        np.testing.assert_allclose(scaler.inverse(scaler.transform(x, np.float64)), x)
        again = Standardizer.from_metadata(json.loads(json.dumps(scaler.to_metadata())))
        assert (again.mean == scaler.mean).all()
        assert (again.scale == scaler.scale).all()

    @pytest.mark.parametrize("column", [[1e200, -1e200], [1e-200, 2e-200]])
    def test_values_whose_squares_are_no_numbers_are_refused(self, column):
        with pytest.raises(ValueError, match=r"x: got mean .* and deviation .* in column 1, expected values whose sq"):
            Standardizer.fit(np.array([[1, 2], column]).T)
