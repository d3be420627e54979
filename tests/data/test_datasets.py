from __future__ import annotations

import bz2
import gzip
import importlib.util
import json
import lzma
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastbp.data import Standardizer, tables
from fastbp.data.delimited import Reading
from fastbp.data.files import Dataset, load_csv, load_digits, load_features, load_npz
from fastbp.data.recipe import Recipe
from fastbp.data.tables import Column, describe, encode, read_table, require_numbers


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
        assert table.titles == ["a", "the b"]
        assert table.numbers("a").tolist() == [1, 2]
        assert (table.cells("a"), table.cells("the b")) == (["1", "2"], ["x", "y\nz"])

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, write):
        assert read_table(write("a,b\n1,2\n", encoding="utf-8-sig")).titles == ["a", "b"]

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
        assert require_numbers(table, "n").tolist() == [1000.0, -2.0]
        assert table.cells("t") == ["red", "7"]
        assert describe(table, "n") == Column("n", None)
        assert describe(table, "t") == Column("t", ("7", "red"))

    def test_numbers_with_underscores_are_text(self, write):
        assert describe(read_table(write("id\n1_2\n3\n")), "id").categories == ("1_2", "3")

    @pytest.mark.parametrize("cell", ["", "  ", "NA", "n/a", "NaN", "?", "null"])
    def test_a_missing_value_is_named_with_row_line_and_column(self, write, cell):
        table = read_table(write(f"a,b\n1,2\n\n3,{cell}\n"))
        with pytest.raises(ValueError, match=r"table.csv: row 1 \(line 4\), column 'b': got the missing value"):
            require_numbers(table, "b")
        with pytest.raises(ValueError, match=r"column 'b': got the missing value .* \(1 of 2 rows have none\); drop"):
            describe(table, "b")

    def test_infinity_is_refused(self, write):
        with pytest.raises(ValueError, match=r"row 1 \(line 3\), column 'a': got '-inf', expected a finite number"):
            require_numbers(read_table(write("a\n1\n-inf\n")), "a")

    def test_too_many_categories_are_taken_for_a_misprint(self, write):
        table = read_table(write("a\n" + "\n".join(map(str, range(99))) + "\n1O\n"))
        expected = r"row 99 \(line 101\), column 'a': got '1O', expected a number .*100 different values in 100 rows"
        with pytest.raises(ValueError, match=expected):
            describe(table, "a")


class TestForms:
    """How files of the world are written: read, or refused with the cause."""

    ROWS = (("1", "0.5"), ("2", "1.5"), ("5", "2.5"))

    def text(self, delimiter=",", newline="\n"):
        return newline.join(map(delimiter.join, (("a", "b"), *self.ROWS, ())))

    def read(self, path, **reading):
        table = read_table(path, Reading(**reading))
        return {title: table.numbers(title).tolist() for title in table.titles}

    WANTED = {"a": [1.0, 2.0, 5.0], "b": [0.5, 1.5, 2.5]}  # noqa: RUF012

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("above", ["", "\n", "# made in May\n#\n# a, b; c\n"])
    def test_delimiters_line_ends_and_comments_above(self, write, delimiter, newline, above):
        text = above.replace("\n", newline) + self.text(delimiter, newline)
        assert self.read(write(text, encoding="utf-8-sig")) == self.WANTED

    @pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
    def test_excels_line_that_names_the_delimiter(self, write, line):
        assert self.read(write(f"{line}\r\n" + self.text(";", "\r\n"))) == self.WANTED

    def test_excels_line_that_names_a_tab(self, write):
        assert self.read(write("sep=\t\n" + self.text("\t"))) == self.WANTED

    @pytest.mark.parametrize(
        ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
    )
    def test_compressed(self, tmp_path, suffix, compress):
        path = tmp_path / f"table.tsv{suffix}"
        path.write_bytes(compress(self.text("\t").encode()))
        assert self.read(path) == self.WANTED
        for damaged in (compress(self.text("\t").encode())[:30], b"a,b\n1,2\n"):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=rf"table.tsv{suffix}: got a damaged {suffix} file"):
                read_table(path)

    def test_a_tab_separates_a_tsv_whatever_else_its_lines_hold(self, write):
        assert self.read(write("a,b\tc\n1\t2\n", name="t.tsv")) == {"a,b": [1.0], "c": [2.0]}

    def test_lines_that_two_delimiters_divide_alike_ask_for_one(self, write):
        path = write("a;b,y\n1;5,0\n2;5,1\n")
        with pytest.raises(ValueError, match=r"got lines that ',' and ';' divide alike.* by delimiter \(--delimiter\)"):
            read_table(path)
        assert self.read(path, delimiter=",")["y"] == [0.0, 1.0]

    def test_a_delimiter_in_a_quoted_title_is_none(self, write):
        assert self.read(write('"a, b";c;"d, e"\n1;2;3\n')) == {"a, b": [1.0], "c": [2.0], "d, e": [3.0]}

    def test_comments_between_rows_must_be_said(self, write):
        path = write("a,b\n1,0.5\n# later\n2,1.5\n5,2.5\n# end\n")
        with pytest.raises(ValueError, match=r"line 3: got 1 cells, expected 2 .* comment='#' \(--comment '#'\)"):
            read_table(path)
        assert self.read(path, comment="#") == self.WANTED

    def test_a_cell_may_begin_with_the_sign_of_a_comment(self, write):
        assert read_table(write("a,b\n#1,2\n#2,3\n")).cells("a") == ["#1", "#2"]

    @pytest.mark.parametrize("first", ["5.1,3.5,setosa", "1,2,3", "x,1e3,y", "a;1.5"])
    def test_a_first_line_with_numbers_may_be_a_row(self, write, first):
        path = write(f"{first}\n{first}\n")
        with pytest.raises(ValueError, match=r"line 1: got the number .*header=False \(--header no\)"):
            read_table(path)
        assert len(read_table(path, Reading(header=False))) == 2
        assert read_table(path, Reading(header=False)).titles == ["x0", "x1", "x2"][: len(re.split("[,;]", first))]

    def test_titles_that_are_numbers_must_be_said(self, write):
        assert self.read(write("2019,2020\n1,2\n"), header=True) == {"2019": [1.0], "2020": [2.0]}

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            (
                '"a","b"\n"x",1,2\n"z",3,4\n',
                "line 2: got 3 cells, expected 2 .*; a first column of row names needs a title",
            ),
            ("a,b\n1,2,\n3,4,\n", "line 2: got 3 cells, expected 2 as in the header; a delimiter ends the line"),
            ("a b\n1,5 2\n", r"line 2: got 2 cells, expected 1 .*another delimiter .*--delimiter"),
            ("a,b\0\n1,2\n", "got zero bytes, expected a CSV file in UTF-8"),
        ],
    )
    def test_the_cause_is_named(self, write, text, cause):
        with pytest.raises(ValueError, match=cause):
            read_table(write(text))

    def test_columns_and_rows_of_delimiters_alone_are_none(self, write):
        assert self.read(write("a,b,\n1,0.5,\n2,1.5,\n5,2.5,\n,,\n,,\n")) == self.WANTED

    def test_an_empty_row_in_the_midst_is_a_row_of_missing_values(self, write):
        table = read_table(write("a,b\n1,2\n,\n3,4\n"))
        with pytest.raises(ValueError, match=r"row 1 \(line 3\), column 'a': got the missing value ''"):
            require_numbers(table, "a")

    @pytest.mark.parametrize(
        ("first", "cells"), [("", "012"), ("", "123"), ("", ["Ann", "Bob", "Eve"]), ("Unnamed: 0", "012"), ("", "719")]
    )
    def test_a_first_column_without_title_that_tells_the_rows_apart_is_left_out(self, write, first, cells):
        rows = "".join(f"{cell},{a},{b}\n" for cell, (a, b) in zip(cells, self.ROWS, strict=True))
        table = read_table(write(f"{first},a,b\n{rows}"))
        assert table.titles == ["a", "b"]
        assert f"left out column 0 ({first!r}), which numbers or names the rows" in table.notes[0]

    def test_an_index_that_pandas_wrote_twice(self, write):
        table = read_table(write("Unnamed: 0.1,Unnamed: 0,a,Unnamed: 3\n0,0,1,1\n1,1,2,1\n2,2,5,1\n"))
        assert table.titles == ["a", "Unnamed: 3"]
        assert [note.split(",")[0] for note in table.notes] == [
            f"{table.path}: left out column {i}" for i in ("0 ('Unnamed: 0.1')", "1 ('Unnamed: 0')")
        ]

    @pytest.mark.parametrize("text", [",a\n1,2\n1,3\n", ",a\n0.5,2\n1.5,3\n", "a,,b\n1,2,3\n2,3,4\n"])
    def test_other_columns_need_a_title(self, write, text):
        with pytest.raises(ValueError, match=r"got a column without title, with '.*' in row 0, expected a title"):
            read_table(write(text))

    @pytest.mark.parametrize(
        ("reading", "message"),
        [
            ({"delimiter": ";;"}, "delimiter: got ';;', expected one character"),
            ({"decimal": "x"}, "decimal: got 'x', expected . or ,"),
            ({"comment": ""}, "comment: got '', expected what lines of comments begin with"),
            ({"decimal": ".", "delimiter": "."}, "delimiter: got '.', which is the decimal mark too"),
        ],
    )
    def test_a_reading_that_cannot_be_meant(self, write, reading, message):
        with pytest.raises(ValueError, match=message):
            read_table(write("a\n1\n"), Reading(**reading))

    def test_cell_by_cell_and_at_once_are_the_same(self, write):
        random = np.random.default_rng(0).normal(size=(2000, 3))
        rows = "".join(f"{','.join(map(repr, row))},{row[0] > 0}\n" for row in random.tolist())
        numbers, mixed = read_table(write("a,b,c,d\n" + rows.replace("True", "1").replace("False", "0"))), None
        mixed = read_table(write("a,b,c,d\n" + rows, name="mixed.csv"))
        for i, title in enumerate("abc"):
            assert (numbers.numbers(title) == random[:, i]).all()
            assert (mixed.numbers(title) == random[:, i]).all()
        assert set(mixed.cells("d")) == {"True", "False"}


class TestDecimals:
    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    def test_commas_where_something_else_separates(self, write, delimiter):
        rows = [["a", "b", "c"], ["1,5", "1,250", "x"], ["-,5", "2", "y"], ["1,5e3", "3", "x"]]
        table = read_table(write("\n".join(map(delimiter.join, rows))))
        assert table.numbers("a").tolist() == [1.5, -0.5, 1500]
        assert table.numbers("b").tolist() == [1.25, 2, 3]
        assert table.cells("c") == ["x", "y", "x"]

    def test_thousands_or_three_decimals(self, write):
        path = write("a;b\n1,250;1\n12,500;2\n")
        expected = r"row 0 \(line 2\), column 'a': got '1,250', in thousands or with three decimals\? .*\(--decimal\)"
        with pytest.raises(ValueError, match=expected):
            read_table(path)
        assert read_table(path, Reading(decimal=",")).numbers("a").tolist() == [1.25, 12.5]
        with pytest.raises(ValueError, match="got '1,250', expected a number"):
            describe(read_table(path, Reading(decimal=".")), "a")

    def test_points_and_commas_in_one_file(self, write):
        with pytest.raises(
            ValueError, match=r"column 'a': got '1,5', and numbers with a point in column 'b', .*--decimal"
        ):
            read_table(write("a;b\n1,5;1.5\n2,5;2.5\n"))

    @pytest.mark.parametrize(
        ("cells", "guilty"), [(["1.5", "2,5", "3.5"], "2,5"), (["1,5", "1.000,5", "3,5"], "1.000,5")]
    )
    def test_one_cell_of_another_kind_is_named(self, write, cells, guilty):
        table = read_table(write("a;b\n" + "".join(f"{cell};1\n" for cell in cells)))
        with pytest.raises(
            ValueError, match=rf"row 1 \(line 3\), column 'a': got '{guilty}', expected a number as in 2 of 3"
        ):
            describe(table, "a")

    @pytest.mark.parametrize(
        "cells", [["1,5", "2,5"], ["$5", "$7"], ["5%", "7%"], ["1,000.5", "12"], ["1 000", "2 000"]]
    )
    def test_numbers_in_another_dress_are_no_categories(self, write, cells):
        table = read_table(write("a,b\n" + "".join(f'"{cell}",1\n' for cell in cells)))
        with pytest.raises(ValueError, match=rf"column 'a': got '{re.escape(cells[0])}', expected a number"):
            describe(table, "a")


class TestDoubts:
    @pytest.mark.parametrize("cell", ["", "NA", "?", "nan", "-", "None", "#N/A", "unknown"])
    def test_a_marker_among_numbers_is_no_category(self, write, cell):
        table = read_table(write("a,b\n" + f"1,2\n{cell},2\n{cell},2\n" * 20))
        expected = (
            rf"row 1 \(line 3\), column 'a': got the missing value '{re.escape(cell)}'.*40 of 60 .*--drop.*--categories"
        )
        with pytest.raises(ValueError, match=expected):
            describe(table, "a")

    @pytest.mark.parametrize("cell", ["", "NA", "?", "nan", "n/a", "#N/A", "<NA>"])
    def test_a_marker_among_text_is_no_category(self, write, cell):
        table = read_table(write("a,b\n" + f"red,2\nblue,2\n{cell},2\n" * 20))
        with pytest.raises(ValueError, match=rf"column 'a': got the missing value '{re.escape(cell)}'.*20 of 60 rows"):
            describe(table, "a")

    def test_numbers_with_a_few_other_cells_are_no_categories(self, write):
        table = read_table(write("a,b\n" + "1,1\n2,1\n3,1\n4more,1\n" * 5))
        with pytest.raises(
            ValueError, match=r"row 3 \(line 5\), column 'a': got '4more', expected a number as in 15 of 20 rows"
        ):
            describe(table, "a")
        assert describe(table, "a", as_text=True).categories == ("1", "2", "3", "4more")

    def test_any_cell_may_be_a_category_if_that_is_said(self, write):
        table = read_table(write("a,b\nNA,1\n2,1\n,1\n"))
        assert describe(table, "a", as_text=True).categories == ("", "2", "NA")

    def test_even_said_so_there_are_limits(self, write):
        table = read_table(write("a,b\n" + "".join(f"{i},1\n" for i in range(1001))))
        with pytest.raises(ValueError, match="column 'a': got 1001 different values, expected 1000 categories at most"):
            describe(table, "a", as_text=True)

    def test_text_that_differs_from_row_to_row(self, write):
        for rows in (11, 60):
            table = read_table(write("a,b\n" + "".join(f"Ann {i},1\n" for i in range(rows))))
            with pytest.raises(
                ValueError, match=rf"got 'Ann 0', .*{rows} different values in {rows} rows\); drop \(--drop\)"
            ):
                describe(table, "a")

    def test_of_many_names_a_message_has_some(self, write):
        table = read_table(write(",".join(f"c{i}" for i in range(100)) + "\n" + ",".join("1" * 100) + "\n"))
        with pytest.raises(ValueError, match=r"got the columns c0, c1, .* c19 and 80 more, expected also d"):
            encode(table, [Column("d")])


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
            ([1, 2] * 10, "classification"),
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
            (
                "a,y\n1,2\n2,z\n",
                ("y", "regression"),
                r"row 1 \(line 3\), column 'y': got 'z', expected numbers for regression",
            ),
            ("a,y\n1,x\n2,x\n", ("y",), "y: got x in every row, expected at least two classes"),
            ("a,y\n1,x\n2,\n", ("y",), r"row 1 \(line 3\), column 'y': got the missing value"),
            ("a,y\n,1\n2,3\n", ("y",), r"row 0 \(line 2\), column 'a': got the missing value"),
            ("a,y\n1,2\n3,4\n", ("y", "ranking"), "task: got 'ranking', expected one of classification, regression"),
        ],
    )
    def test_what_does_not_fit_is_named(self, write, text, arguments, message):
        with pytest.raises(ValueError, match=message):
            load_csv(write(text), *arguments)


class TestLabels:
    def load(self, write, labels, task=None, **options):
        rows = "".join(f"{i % 7 + 0.5},{label}\n" for i, label in enumerate(labels))
        return load_csv(write(f"a,y\n{rows}"), "y", task, **options)

    @pytest.mark.parametrize(
        ("labels", "classes"),
        [
            (["007", "8"], ("007", "8")),
            (["12345678901234567890", "22345678901234567890"], (12345678901234567890, 22345678901234567890)),
            (["10", "9", "-1"], (-1, 9, 10)),
            (["1.0", "2.0"], (1.0, 2.0)),
            (["1e3", "200"], ("200", "1e3")),
            (["+1", "-1"], ("-1", "+1")),
            (["True", "False"], ("False", "True")),
            (["yes", "no"], ("no", "yes")),
            (["é", "ü"], ("é", "ü")),
        ],
    )
    def test_as_the_file_has_them_in_ascending_order(self, write, labels, classes):
        data = self.load(write, labels * 10)
        assert data.task == "classification"
        assert data.classes == classes
        assert [str(data.classes[i]) for i in data.y] == labels * 10
        again = Recipe.from_metadata(json.loads(json.dumps(Recipe.fit(data, np.arange(20)).to_metadata())))
        assert list(map(str, again.classes)) == list(map(str, classes))

    @pytest.mark.parametrize("labels", [["1.10", "1.1"], ["0.5", "1.5"], ["007", "7"], ["1", "1.0"]])
    def test_what_is_said_to_be_a_class_is_one(self, write, labels):
        data = self.load(write, labels * 10, "classification")
        assert [str(data.classes[i]) for i in data.y] == labels * 10

    @pytest.mark.parametrize("labels", [["007", "7"], ["1", "1.0"]])
    def test_one_number_written_in_two_ways(self, write, labels):
        with pytest.raises(
            ValueError, match=f"got the labels '{labels[0]}' and '{labels[1]}', expected one way to write"
        ):
            self.load(write, labels * 10)

    @pytest.mark.parametrize("task", [None, "regression", "classification"])
    def test_numbers_with_a_few_other_cells_are_not_hundreds_of_classes(self, write, task):
        labels = [str(i / 4) for i in range(198)]
        labels[5:5], labels[9:9] = ["n.d."], ["n.d."]
        expected = r"row 5 \(line 7\), column 'y': got 'n.d.', expected .*as in 198 of 200 rows"
        with pytest.raises(ValueError, match=expected):
            self.load(write, labels, task)

    def test_a_few_numbers_and_other_labels_must_be_said(self, write):
        labels = ["1", "2", "3", "other"] * 10
        with pytest.raises(ValueError, match=r"got 'other', expected a number as in 30 of 40 .*\(--categories\)"):
            self.load(write, labels)
        assert self.load(write, labels, "classification").classes == ("1", "2", "3", "other")

    def test_names_are_no_classes(self, write):
        names = [f"Ann {i}" for i in range(50)]
        expected = r"y: got 50 different labels in 50 rows, as 'Ann 0' in row 0, expected classes of several rows"
        with pytest.raises(ValueError, match=expected):
            self.load(write, names)
        assert len(self.load(write, names, "classification").classes) == 50

    @pytest.mark.parametrize("marker", ["", "NA", "?", "nan"])
    @pytest.mark.parametrize(
        ("label", "task"),
        [
            ("x", None),
            ("x", "classification"),
            ("1", None),
            ("1", "classification"),
            ("2.5", None),
            ("2.5", "regression"),
        ],
    )
    def test_a_marker_for_missing_values_is_no_class(self, write, marker, label, task):
        with pytest.raises(ValueError, match=rf"column 'y': got the missing value '{re.escape(marker)}'"):
            self.load(write, [label, "2", marker] * 10, task)
        assert marker in self.load(write, [label, "2", marker] * 10, categories=["y"]).classes

    def test_decimal_commas(self, write):
        data = load_csv(write("a;y\n" + "1,5;2,5\n2,5;3,5\n" * 10), "y")
        assert data.task == "regression"
        assert data.y.tolist() == [2.5, 3.5] * 10
        data = load_csv(write("a;y\n" + "1,5;10,5\n2,5;3,5\n" * 10), "y", "classification")
        assert data.classes == ("3,5", "10,5")


class TestChoices:
    ROWS = "".join(f"{i},{i % 7},{i % 3},{i % 2}\n" for i in range(1, 41))

    def test_an_unnamed_index_does_not_leak(self, write):
        data = load_csv(write(",a,b,y\n" + self.ROWS), "y")
        assert data.features == ("a", "b")
        assert "left out column 0 ('')" in data.notes[0]

    def test_a_named_column_that_counts_the_rows_is_noted(self, write):
        path = write("id,a,b,y\n" + self.ROWS)
        data = load_csv(path, "y")
        assert data.features == ("id", "a", "b")
        assert re.search("column 'id' only counts the rows: drop", data.notes[0])
        data = load_csv(path, "y", drop=["id"])
        assert (data.features, data.notes) == (("a", "b"), ())

    def test_numbers_may_be_categories(self, write):
        assert load_csv(write("id,a,b,y\n" + self.ROWS), "y", categories=["b"]).features[2:] == ("b=0", "b=1", "b=2")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"drop": ["z"]}, "drop: got 'z', expected a column of .*: id, a, b, y"),
            ({"categories": ["z"]}, "categories: got 'z', expected a column"),
            ({"drop": ["y"]}, "drop: got 'y', which is the target"),
            ({"categories": ["y"], "task": "regression"}, "categories: got 'y', the target of a regression"),
            ({"drop": ["id", "a", "b"]}, "got the column 'y' only"),
        ],
    )
    def test_what_cannot_be_meant(self, write, options, message):
        with pytest.raises(ValueError, match=message):
            load_csv(write("id,a,b,y\n" + self.ROWS), "y", **options)

    def test_a_string_is_no_sequence_of_titles(self, write):
        with pytest.raises(TypeError, match="got a string, expected a sequence of titles"):
            load_csv(write("id,a,b,y\n" + self.ROWS), "y", drop="id")

    def test_how_the_file_is_written_reaches_the_reader(self, write):
        path = write("1.5;7\n2.5;8\n")
        assert load_csv(path, "x1", delimiter=";", decimal=".", header=False).x.tolist() == [[1.5], [2.5]]
        assert load_features(path, (Column("x0"),), 1, header=False).tolist() == [[1.5], [2.5]]


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

    @pytest.mark.parametrize("label", ["", "nan", "NA"])
    def test_a_marker_for_missing_values_is_no_class(self, write_npz, label):
        with pytest.raises(
            ValueError, match=f"y: got the missing value '{label}' in row 1, expected a label in every row"
        ):
            load_npz(write_npz(x=np.ones((3, 2)), y=np.array(["b", label, "c"])))

    def test_large_labels_stay_apart(self, write_npz):
        for y in (np.array([2**63, 2**63 + 1] * 2, np.uint64), np.array([1e19, 2e19] * 2)):
            data = load_npz(write_npz(x=np.ones((4, 2)), y=y))
            assert data.classes == tuple(y[:2].tolist())
            assert data.y.tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize(
        ("x", "images"),
        [
            (np.full((4, 8, 8), 200, np.uint8), True),
            (np.eye(4, dtype=np.uint8)[:, :, None], True),
            (np.arange(256, dtype=np.uint8).reshape(4, 64), True),
            (np.arange(256, dtype=np.uint8).reshape(4, 64) // 2, False),  # counts
            (np.arange(240, dtype=np.uint8).reshape(4, 60), False),  # ages, codes
            (np.arange(256, dtype=np.uint8).reshape(64, 4), False),
            (np.arange(256.0).reshape(4, 8, 8), False),
        ],
    )
    def test_bytes_are_pixels_where_their_shape_or_values_say_so(self, write_npz, x, images):
        assert load_npz(write_npz(x=x, y=np.arange(len(x)) + 0.5)).images is images

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

    @pytest.mark.parametrize("value", [1e300, -1e60])
    def test_what_float32_does_not_hold_is_named(self, value):
        recipe = Recipe.fit(dataset(), np.arange(20))
        x = np.ones((3, 2))
        x[2, 1] = value
        expected = rf"x: got {re.escape(repr(value))} in row 2, column 1 \('b'\), expected numbers that float32 holds"
        with pytest.raises(ValueError, match=expected):
            recipe.inputs(x)

    def test_images_are_divided_by_255(self):
        images = np.arange(40, dtype=np.uint8).reshape(20, 2)
        recipe = Recipe.fit(dataset(x=images * 6, images=True), np.arange(10, 20))
        np.testing.assert_allclose(recipe.inputs(images), images / 255, rtol=1e-6)

    def test_dark_images_are_divided_by_their_brightest_pixel(self):
        masks = np.eye(4, dtype=np.uint8)
        assert (Recipe.fit(dataset(x=masks, y=np.arange(4.0), images=True), np.arange(4)).inputs(masks) == masks).all()

    def test_bytes_that_are_no_images_are_standardised(self):
        counts = np.arange(40, dtype=np.uint8).reshape(20, 2)
        recipe = Recipe.fit(dataset(x=counts), np.arange(20))
        np.testing.assert_allclose(recipe.inputs(counts).std(axis=0), 1, rtol=1e-6)

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
