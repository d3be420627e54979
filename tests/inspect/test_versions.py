"""show_versions: what one needs to know to understand a bug report."""

import numba
import numpy as np
from numba.core.caching import NullCache

import fastbp as fb
from fastbp.inspect import versions


def test_versions_names_what_runs():
    found = versions.versions()
    assert found["fastbp"].startswith(fb.__version__ + " (sources ")
    assert (found["numba"], found["numpy"]) == (numba.__version__, np.__version__)
    assert found["threading layer"] in ("omp", "tbb", "workqueue")
    assert found["threads"].endswith(f" of {numba.config.NUMBA_NUM_THREADS}")
    for name in ("float32", "float64"):
        assert " x " in found[f"tile, {name}"]
    assert all(isinstance(value, str) and value for value in found.values())


def test_show_versions_prints_a_line_for_each(capsys):
    fb.show_versions()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [name[:18] for name in versions.versions()]


def test_a_package_that_is_missing_is_said_to_be(monkeypatch):
    monkeypatch.setattr(versions, "OPTIONAL", ("surely-not-a-package",))
    assert versions.versions()["surely-not-a-package"] == "not installed"


def test_without_a_cache_folder_versions_says_so(monkeypatch):
    monkeypatch.setattr(versions, "package_cache", lambda f: NullCache())
    assert versions.versions()["compiler cache"] == "none: no folder is writable"
