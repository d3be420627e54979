"""The table to the letter."""

from __future__ import annotations

from dataclasses import replace

from fastbp.bench.table import table

WHOLE = """\
Abacus 9, 2 threads, FMA peak 190 GFLOP/s float32
fastbp 1.0, numpy 2.0
microseconds a step of training, relu, sgd, float32 (share of the FMA peak)

network@rows    at the peak        fastbp         NumPy  scikit-learn       PyTorch  JAX  best peer / fastbp
4-8-2@32               1.00   4.00 (25 %)   32.0 ( 3 %)             -  100.0 ( 1 %)    -                8.00
784-512-10@128        1,000  1,250 (80 %)  2,500 (40 %)  4,000 (25 %)             -    -                2.00
geometric mean                                                                                          4.00

scikit-learn, 4-8-2@32: ValueError: two
PyTorch, 784-512-10@128: MemoryError:
JAX: not installed"""


def test_whole(found):
    assert [line.rstrip() for line in table(found).splitlines()] == WHOLE.splitlines()


def test_fastbp_alone(found):
    """No ratio, no mean, no notes."""
    found.contenders = ("fastbp",)
    for result in found.results:
        result.seconds, result.faults = {"fastbp": result.seconds["fastbp"]}, {}
    lines = table(found).splitlines()
    assert lines[4].split()[-1] == "fastbp"
    assert lines[-1].startswith("784-512-10@128")


def test_a_network_that_fastbp_has_no_figure_for(found):
    found.results[0].seconds.pop("fastbp")
    found.results[0].faults["fastbp"] = "MemoryError"
    lines = table(found).splitlines()
    assert lines[5].split()[-1] == "-"
    assert lines[7].split() == ["geometric", "mean", "2.00"]
    assert "fastbp, 4-8-2@32: MemoryError" in lines


def test_threads_that_share_cores(found):
    assert "side by side" not in table(found)
    found.machine = replace(found.machine, peak=150e9)
    assert table(found).splitlines()[3].startswith("the threads did not run side by side")
