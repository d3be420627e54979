"""Every benchmark once, at its smallest size, with its result checked; the suite as asv sees it."""

import itertools
import json
import math
import os
import subprocess
import sys

import numba
import pytest

pytest.importorskip("asv_runner")
from asv_runner.benchmarks.mark import SkipNotImplemented
from asv_runner.discovery import disc_benchmarks

SLOW = ("timeraw", "starting.Compilation")  # processes that compile everything anew


@pytest.fixture(scope="module")
def benchmarks(suite):
    return list(disc_benchmarks("benchmarks"))


@pytest.fixture(autouse=True)
def same_threads():
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


def test_names_say_what_is_timed(benchmarks):
    names = " ".join(b.name for b in benchmarks)
    for name in (
        "time_weight_gradient", "time_propagate_delta", "time_dense_forward", "time_bias_gradient", "time_activate",
        "time_activation_delta", "time_softmax_cross_entropy", "time_adam_step", "time_train_step", "time_fit_digits",
        "time_fit_many", "time_predict", "timeraw_import", "peakmem_nothing", "track_compile_seconds",
        "track_weight_gradient_over_peak", "track_weight_gradient_over_matmul", "track_train_step_over_peak",
    ):  # fmt: skip
        assert name in names


def test_every_benchmark_runs_at_its_smallest_size(benchmarks):
    for benchmark in benchmarks:
        if any(slow in benchmark.name for slow in SLOW):
            continue
        benchmark.set_param_idx(0)
        benchmark.repeat = benchmark.number = benchmark.min_run_count = 1
        benchmark.warmup_time = 0
        found = benchmark.do_run()
        values = found["samples"] if isinstance(found, dict) else [found]
        assert all(math.isfinite(value) and value > 0 for value in values), benchmark.name


def test_every_result_is_checked_at_its_smallest_size(benchmarks):
    checked = {type(b.func.__self__): b.func.__self__ for b in benchmarks}
    assert len(checked) > 15
    for instance in checked.values():
        instance.check(*next(itertools.product(*getattr(instance, "params", ()))))


def test_no_module_starts_threads_when_imported(run_python, suite):
    """asv's fork server imports them: numba's threads do not survive a fork."""
    run_python(
        """
        import importlib, pkgutil
        import benchmarks
        for module in pkgutil.iter_modules(benchmarks.__path__, "benchmarks."):
            importlib.import_module(module.name)
        from numba.np.ufunc import parallel
        assert not parallel._is_initialized
        """,
        path=[suite],
    )


@pytest.mark.parametrize("commit", ["a" * 40, "b" * 40])
def test_a_commit_compiles_into_a_folder_of_its_own(run_python, suite, tmp_path, commit):
    printed = run_python(
        """
        import benchmarks
        import numpy as np
        from fastbp import kernels
        from numba import config
        kernels.bias_gradient(np.ones((2, 3), np.float32))
        print(config.CACHE_DIR)
        """,
        path=[suite], ASV_ENV_DIR=str(tmp_path), ASV_COMMIT=commit,
    ).stdout  # fmt: skip
    folder = tmp_path / "compiled" / commit
    assert printed.strip() == str(folder)
    assert list(folder.rglob("*.nbc"))
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == [commit]


def test_an_environment_that_asv_did_not_build_keeps_its_cache(run_python, suite, tmp_path):
    code = "import benchmarks; from numba import config; print(config.CACHE_DIR)"
    assert run_python(code, path=[suite], cache=tmp_path, ASV="true").stdout.strip() == str(tmp_path)


def test_the_fast_profile_has_fewer_cases_of_the_same_benchmarks(run_python, suite):
    code = """
        from benchmarks import kernels, training
        print(len(kernels.Kernel.params[0]), len(training.WORKLOADS))
    """
    few, all_ = (run_python(code, path=[suite], FASTBP_PROFILE=p).stdout.split() for p in ("fast", ""))
    assert all(int(a) < int(b) for a, b in zip(few, all_, strict=True))


def test_bad_settings_skip_with_a_reason(suite, monkeypatch):
    from benchmarks import limits, starting, training

    monkeypatch.setattr(limits, "fma_speed", None)
    with pytest.raises(SkipNotImplemented, match="cannot measure the peak"):
        limits.KernelOverPeak().track_weight_gradient_over_peak("32x10x64", "float32", "1")
    with pytest.raises(SkipNotImplemented, match="wrote no cache"):
        starting.Compilation().track_bytes_of_cache({"signatures": 0, "bytes": 0})
    training.digits.cache_clear()

    def nothing():
        raise ImportError("no scikit-learn")

    monkeypatch.setattr("fastbp.datasets.load_digits", nothing)
    with pytest.raises(SkipNotImplemented, match="no digits"):
        training.digits()


def test_asv_finds_no_fault_with_the_suite(suite):
    pytest.importorskip("asv")
    installed = subprocess.run(
        [sys.executable, "-c", "import fastbp"], cwd=suite, env={**os.environ, "PYTHONPATH": ""}, capture_output=True
    )
    if installed.returncode:
        pytest.skip("asv imports only what is installed, and fastbp is not")
    command = [sys.executable, "-m", "asv", "check", "--python=same"]
    done = subprocess.run(command, cwd=suite, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems found" in done.stdout


def test_configuration(suite):
    lines = (suite / "asv.conf.json").read_text().splitlines()
    found = json.loads("\n".join(line for line in lines if not line.strip().startswith("//")))
    assert found["branches"] == ["main"]
    assert found["environment_type"] == "virtualenv"
    assert found["matrix"] == {"req": {"pip+asv_runner": ["0.3.2"]}}
