from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastbp import tables
from fastbp.data import Standardizer
from fastbp.datasets import Dataset, Recipe, load_csv, load_digits, load_features, load_npz
from fastbp.tables import Column, describe, encode, read_column, read_table


@pytest.fixture
def write(tmp_path):
    """write(text) -> the path of a CSV file with it."""

    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


@pytest.fixture
def write_npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "arrays.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


class TestReadTable:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_cells_by_column(self, write, delimiter, newline):
        rows = [["a", '"the b"'], ["1", " x "], ["2", '"y\nz"'], []]
        table = read_table(write(newline.join(delimiter.join(row) for row in rows)))
        assert table.cells == {"a": ["1", "2"], "the b": ["x", "y\nz"]}

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, write):
        assert list(read_table(write("a,b\n1,2\n", encoding="utf-8-sig")).cells) == ["a", "b"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "got 0 lines, expected a header and at least one row"),
            ("a,b\n", "got 1 lines"),
            ("a,b,a\n1,2,3\n", "got two columns called 'a', expected a name for each"),
            ("a,b\n1,2\n\n3\n", "line 4: got 1 cells, expected 2 as in the header"),
            ('a,b\n1,"2\n', "line 2: .*, expected a CSV file"),
        ],
    )
    def test_what_is_no_table_is_refused_with_its_path(self, write, text, message):
        with pytest.raises(ValueError, match=f"table.csv: {message}"):
            read_table(write(text))

    def test_what_is_no_text_is_refused(self, write):
        with pytest.raises(ValueError, match=r"table.csv: got bytes that are not UTF-8"):
            read_table(write("é,b\n1,2\n", encoding="latin-1"))

    def test_a_missing_file_is_just_that(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / "none.csv")


class TestColumns:
    def test_numbers_and_text(self, write):
        table = read_table(write("n,t\n 1e3,red\n-2,7\n"))
        assert read_column(table, "n").tolist() == [1000.0, -2.0]
        assert read_column(table, "t").tolist() == ["red", "7"]
        assert describe(table, "n") == Column("n", None)
        assert describe(table, "t") == Column("t", ("7", "red"))

    def test_numbers_with_underscores_are_text(self, write):
        assert describe(read_table(write("id\n1_2\n3\n")), "id").categories == ("1_2", "3")

    @pytest.mark.parametrize("cell", ["", "  ", "NA", "n/a", "NaN", "?", "null"])
    def test_a_missing_value_is_named_with_row_line_and_column(self, write, cell):
        table = read_table(write(f"a,b\n1,2\n\n3,{cell}\n"))
        with pytest.raises(ValueError, match=r"table.csv: row 1 \(line 4\), column 'b': got the missing value"):
            read_column(table, "b")

    def test_infinity_is_refused(self, write):
        with pytest.raises(ValueError, match=r"row 1 \(line 3\), column 'a': got '-inf', expected a finite number"):
            read_column(read_table(write("a\n1\n-inf\n")), "a")

    def test_too_many_categories_are_taken_for_a_misprint(self, write):
        table = read_table(write("a\n" + "\n".join(map(str, range(99))) + "\n1O\n"))
        expected = r"row 99 \(line 101\), column 'a': got '1O', expected a number .*100 different values in 100 rows"
        with pytest.raises(ValueError, match=expected):
            describe(table, "a")


class TestEncode:
    def test_the_columns_asked_for_in_the_order_asked(self, write):
        table = read_table(write("colour,other,n\nred,x,1\nblue,y,2\n"))
        columns = [Column("n"), Column("colour", ("blue", "green", "red"))]
        assert encode(table, columns).tolist() == [[1, 0, 0, 1], [2, 1, 0, 0]]
        assert columns[1].features == ("colour=blue", "colour=green", "colour=red")

    def test_categories_that_happen_to_be_numbers(self, write):
        assert encode(read_table(write("a\n7\n7\n")), [Column("a", ("7", "red"))]).tolist() == [[1, 0], [1, 0]]

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            (Column("c"), "got the columns a, b, expected also c"),
            (Column("b"), r"row 0 \(line 2\), column 'b': got 'x', expected a number"),
            (Column("b", ("x", "z")), r"row 1 \(line 3\), column 'b': got 'y', expected one of x, z"),
        ],
    )
    def test_what_does_not_fit_is_named(self, write, column, message):
        with pytest.raises(ValueError, match=f"table.csv: {message}"):
            encode(read_table(write("a,b\n1,x\n2,y\n")), [column])


class TestDigits:
    def test_the_real_images(self):
        digits = load_digits()
        assert digits.x.shape == (1797, 64)
        assert digits.x.dtype == np.float32
        assert digits.x.flags.c_contiguous
        assert (digits.x.min(), digits.x.max()) == (0, 1)
        assert np.bincount(digits.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        assert digits.task == "classification"
        assert digits.classes == tuple(range(10))
        assert (len(digits.features), digits.target) == (64, "digit")

    def test_scikit_learn_is_not_imported(self):
        before = {name for name in sys.modules if name.startswith("sklearn")}
        load_digits()
        assert {name for name in sys.modules if name.startswith("sklearn")} == before

    @pytest.mark.parametrize("spec", [None, SimpleNamespace(submodule_search_locations=None)])
    def test_without_scikit_learn_it_says_how_to_get_it(self, monkeypatch, spec):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
        with pytest.raises(ImportError, match=r"pip install 'fastbp\[data\]'"):
            load_digits()


class TestLoadCSV:
    def test_text_is_a_class(self, write):
        data = load_csv(write("a,colour,kind\n1,red,dog\n2,blue,cat\n3,red,dog\n"), "kind")
        assert data.task == "classification"
        assert data.classes == ("cat", "dog")
        assert data.y.tolist() == [1, 0, 1]
        assert data.y.dtype == np.int64
        assert data.features == ("a", "colour=blue", "colour=red")
        assert data.x.tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1]]
        assert data.columns == (Column("a"), Column("colour", ("blue", "red")))

    @pytest.mark.parametrize(
        ("values", "task"),
        [
            ([0, 1, 1, 0], "classification"),
            (["1.0", "2.0"] * 10, "classification"),
            (list(range(20)) * 2, "classification"),
            (list(range(21)) * 2, "regression"),  # too many
            ([1, 2, 3, 4], "regression"),  # each comes once
            ([0.5, 1.5] * 5, "regression"),
        ],
    )
    def test_the_task_is_told_from_the_target(self, write, values, task):
        text = "a,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values))
        data = load_csv(write(text), "y")
        assert data.task == task
        if task == "classification":
            assert all(type(label) is int for label in data.classes)
            assert [data.classes[i] for i in data.y] == [int(float(value)) for value in values]
        else:
            assert data.classes is None
            assert data.y.tolist() == values

    def test_the_task_may_be_given(self, write):
        path = write("a,y\n1,0\n2,1\n3,0\n4,1\n")
        assert load_csv(path, "y", "regression").y.tolist() == [0, 1, 0, 1]
        path = write("a,y\n1,0.5\n2,1.5\n")
        assert load_csv(path, "y", "classification").classes == (0.5, 1.5)

    @pytest.mark.parametrize(
        ("text", "arguments", "message"),
        [
            ("a,b\n1,2\n", ("y",), "target: got 'y', expected a column of .*table.csv: a, b"),
            ("y\n1\n", ("y",), "got the column 'y' only, expected features beside it"),
            ("a,y\n1,x\n2,z\n", ("y", "regression"), "table.csv: y: got x in row 0, expected numbers for regression"),
            ("a,y\n1,x\n2,x\n", ("y",), "y: got x in every row, expected at least two classes"),
            ("a,y\n1,x\n2,\n", ("y",), r"row 1 \(line 3\), column 'y': got the missing value"),
            ("a,y\n,1\n2,3\n", ("y",), r"row 0 \(line 2\), column 'a': got the missing value"),
            ("a,y\n1,2\n3,4\n", ("y", "ranking"), "task: got 'ranking', expected one of classification, regression"),
        ],
    )
    def test_what_does_not_fit_is_named(self, write, text, arguments, message):
        with pytest.raises(ValueError, match=message):
            load_csv(write(text), *arguments)


class TestLoadNpz:
    def test_labels_of_any_kind(self, write_npz):
        x = np.ones((4, 2), np.float32)
        for y, classes in (
            (np.array([3, 5, 3, 5], np.uint8), (3, 5)),
            (np.array([[3.0], [5.0], [3.0], [5.0]]), (3, 5)),
            (np.array(["b", "c", "b", "c"]), ("b", "c")),
            (np.array([b"b", b"c", b"b", b"c"]), ("b", "c")),
            (np.array([False, True, False, True]), (False, True)),
        ):
            data = load_npz(write_npz(x=x, y=y))
            assert (data.task, data.classes) == ("classification", classes)
            assert data.y.tolist() == [0, 1, 0, 1]
            assert data.features == ("x0", "x1")
            json.dumps(data.classes)

    def test_numbers_of_one_or_several_columns(self, write_npz):
        x = np.ones((3, 2))
        for y in (np.array([0.5, 1, 2]), np.array([[0.5, 1], [1, 2], [3, 4]])):
            data = load_npz(write_npz(a=x, b=y), "a", "b")
            assert data.task == "regression"
            assert (data.y == y).all()
            assert (data.features, data.target) == (("a0", "a1"), "b")

    def test_images_are_flattened_and_keep_their_dtype(self, write_npz):
        x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        data = load_npz(write_npz(x=x, y=[0.5, 1.5]))
        assert data.x.tolist() == x.reshape(2, 12).tolist()
        assert data.x.dtype == np.uint8

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"z": [1]}, "arrays.npz: expected an .npz file with the keys x, y: got z without x, y"),
            ({"x": np.ones((3, 2)), "y": [1, 2]}, "y: got 2 rows, expected 3, as many as x has"),
            ({"x": np.ones((3, 2)), "y": 1}, r"y: got shape \(\), expected one entry"),
            ({"x": np.ones((1, 2)), "y": np.ones((1, 2, 2))}, r"y: got shape \(1, 2, 2\), expected one entry"),
            ({"x": [1, 2], "y": [1, 2]}, r"x: got shape \(2,\), expected two dimensions"),
            ({"x": np.ones((0, 2, 2)), "y": []}, r"x: got shape \(0, 2, 2\), expected two dimensions"),
            ({"x": [[1, 2], [3, np.nan]], "y": [0, 1]}, "x: got nan in row 1, column 1, expected finite"),
            ({"x": [[1, 2]], "y": [np.inf]}, "y: got inf in row 0, expected finite"),
            ({"x": [[1, 2]], "y": [["a", "b"]]}, r"y: got shape \(1, 2\), expected one class for every row"),
            ({"x": np.array([[None]]), "y": [1]}, "expected an .npz file with the keys"),
        ],
    )
    def test_what_does_not_fit_is_named(self, write_npz, arrays, message):
        with pytest.raises(ValueError, match=message):
            load_npz(write_npz(**arrays))

    @pytest.mark.parametrize("arrays", [{"x": [["a"]], "y": [1]}, {"x": [[1]], "y": [1j]}])
    def test_what_holds_no_real_numbers_is_a_type_error(self, write_npz, arrays):
        with pytest.raises(TypeError, match="expected a 2-D array of real numbers"):
            load_npz(write_npz(**arrays))

    @pytest.mark.parametrize("cut", [0, 10, 150, 400])
    def test_a_broken_file_is_refused_with_its_path(self, write_npz, cut):
        path = Path(write_npz(x=np.ones((9, 9)), y=np.ones(9)))
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ValueError, match=r"arrays.npz: expected an .npz file with the keys x, y: "):
            load_npz(path)

    def test_a_single_array_is_refused(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones(3))
        with pytest.raises(ValueError, match=r"x.npy: expected an .npz file with the keys x, y: got a single array"):
            load_npz(tmp_path / "x.npy")


class TestLoadFeatures:
    def test_a_csv_by_the_names_of_its_columns(self, write):
        path = write("extra,colour,n\n0,red,5\n")
        columns = (Column("n"), Column("colour", ("blue", "red")))
        assert load_features(path, columns, 3).tolist() == [[5, 0, 1]]

    def test_a_csv_for_a_model_without_column_names(self, write):
        path = write("a,b\n1,2\n3,4\n")
        assert load_features(path, None, 2).tolist() == [[1, 2], [3, 4]]
        with pytest.raises(ValueError, match=r"table.csv: got shape \(2, 2\), expected 3 columns"):
            load_features(path, None, 3)

    def test_an_npz(self, write_npz):
        path = write_npz(images=np.ones((2, 2, 2), np.uint8))
        assert load_features(path, None, 4, "images").shape == (2, 4)
        with pytest.raises(ValueError, match=r"images: .*expected 5 columns"):
            load_features(path, None, 5, "images")
        with pytest.raises(ValueError, match=r"expected an .npz file with the keys x: got images without x"):
            load_features(path, None, 4)


def dataset(task="regression", **fields):
    x = np.random.default_rng(0).normal(5, 3, (20, 2))
    defaults = {"x": x, "y": x[:, 0] * 10, "classes": None, "features": ("a", "b"), "target": "y"}
    return Dataset(**{**defaults, "task": task, **fields})


class TestRecipe:
    def test_scales_come_from_the_rows_to_train_on(self):
        data = dataset()
        recipe = Recipe.fit(data, np.arange(10))
        np.testing.assert_allclose(recipe.inputs(data.x)[:10].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(recipe.targets(data.y)[:10].std(), 1, rtol=1e-6)
        assert recipe.inputs(data.x).dtype == recipe.targets(data.y).dtype == np.float32
        assert recipe.targets(data.y).shape == (20, 1)
        assert recipe.outputs == 1

    def test_images_are_divided_by_255(self):
        images = np.arange(40, dtype=np.uint8).reshape(20, 2)
        recipe = Recipe.fit(dataset(x=images), np.arange(10))
        np.testing.assert_allclose(recipe.inputs(images), images / 255, rtol=1e-6)

    def test_features_of_one_scale_are_left_alone(self):
        digits = load_digits()
        recipe = Recipe.fit(digits, np.arange(10))
        assert recipe.x is None
        assert (recipe.inputs(digits.x) == digits.x).all()
        assert recipe.targets(digits.y) is digits.y
        assert recipe.outputs == 10

    @pytest.mark.parametrize(
        "data",
        [
            dataset(),
            dataset("classification", y=np.arange(20) % 2, classes=("no", "yes"), scaled=True),
            dataset(columns=(Column("a"), Column("b", ("u", "v")))),
        ],
    )
    def test_json_gives_it_back(self, data):
        recipe = Recipe.fit(data, np.arange(20))
        again = Recipe.from_metadata(json.loads(json.dumps(recipe.to_metadata())))
        assert again[:5] == recipe[:5]
        assert again.columns is None or isinstance(again.columns[0], tables.Column)
        assert (again.inputs(data.x) == recipe.inputs(data.x)).all()
        assert (again.targets(data.y) == recipe.targets(data.y)).all()

    def test_predictions_of_classes(self):
        recipe = Recipe("classification", ("no", "yes"), ("a",), "answer", None, None, None)
        assert recipe.header == ["answer", "probability_no", "probability_yes"]
        rows = list(recipe.predictions(np.array([[0.0, np.log(3)], [1000, 0]], np.float32)))
        assert rows == [["yes", "0.25", "0.75"], ["no", "1", "0"]]

    def test_predictions_of_numbers_are_in_units_of_the_file(self):
        scale = Standardizer(np.array([1.0, 2.0]), np.array([10.0, 1.0]))
        recipe = Recipe("regression", None, ("a",), "y", None, None, scale)
        assert recipe.header == ["y0", "y1"]
        assert list(recipe.predictions(np.array([[1.0, 1.0]]))) == [["11", "3"]]
        assert recipe._replace(y=Standardizer(np.zeros(1), np.ones(1))).header == ["y"]

    def test_scores(self):
        recipe = Recipe("classification", ("no", "yes"), ("a",), "answer", None, None, None)
        assert recipe.scores(np.array([0, 1]), np.array([[1.0, 0], [1, 0]])) == {"accuracy": 0.5}
        recipe = Recipe("regression", None, ("a",), "y", None, None, Standardizer(np.zeros(1), np.full(1, 2.0)))
        scores = recipe.scores(np.array([0.0, 4.0]), np.array([[0.5], [1.5]]))
        assert scores == {"R2": 0.75, "mean squared error": 1.0}
        assert list(recipe.scores(np.array([4.0, 4.0]), np.ones((2, 1)))) == ["mean squared error"]
