"""What a former version wrote goes on working: the files in `former/files`, which `former/write.py` made with that version."""

import gzip
import importlib
import json
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import numba
import pytest
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target

import fastbp as fb
from fastbp.compiler.jit import StaleCaller
from fastbp.io import safetensors

FORMER = Path(__file__).parent / "former"
FILES = FORMER / "files"
TOLD = json.loads((FILES / "told.json").read_text())
CACHED = sorted(path.name.removesuffix(".cached.gz") for path in FILES.glob("*.cached.gz"))


@pytest.fixture(scope="module")
def makes():
    sys.path.insert(0, str(FORMER))
    yield importlib.import_module("makes")
    sys.path.remove(str(FORMER))


def as_json(value):
    return json.loads(json.dumps(value))


def unpickled(name):
    content = (FILES / f"{name}.pickle").read_bytes()
    if b"CodeType" in content and sys.version_info[:2] != tuple(TOLD["python"]):
        pytest.skip("numba pickles a function as the byte code of one version of Python")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to unpickle estimator")  # of another version of scikit-learn
        return pickle.loads(content)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", [name for name in TOLD["modules"] if name != "fastbp.examples.cartpole_torch"])
def test_every_module_is_found_by_its_former_name(name):
    module = importlib.import_module(name)
    assert module is sys.modules[name]
    assert name.count(".") != 1 or getattr(fb, name.split(".")[1]) is module or name == "fastbp.check_gradients"


IMPORTED = {
    "fastbp.model": "Sequential",
    "fastbp.layers": "Layer Dense Dropout Custom layer_at",
    "fastbp.losses": "Loss SoftmaxCrossEntropy Huber Quantile custom softmax_cross_entropy",
    "fastbp.activations": "names Activation CustomActivation custom",
    "fastbp.optimizers": "Optimizer SGD Adam AdamW RMSprop Adagrad",
    "fastbp.schedules": "Schedule Constant Step Exponential Cosine WarmUp real_number whole_number",
    "fastbp.callbacks": "Callback EarlyStopping Progress as_callbacks",
    "fastbp.checkpoints": "Checkpoint",
    "fastbp.tensorboard": "TensorBoard",
    "fastbp.pruning": "OptunaPruning",
    "fastbp.history": "History",
    "fastbp.metrics": "accuracy mean_absolute_error",
    "fastbp.training": "fit",
    "fastbp.many": "fit_many",
    "fastbp.explanation": "Explanation Row",
    "fastbp.explain": "explain",
    "fastbp.check_gradients": "check_gradients",
    "fastbp.versions": "show_versions",
    "fastbp.data": "Standardizer train_validation_split as_matrix as_targets",
    "fastbp.datasets": "Dataset Recipe load_digits load_csv",
    "fastbp.tables": "Column Table",
    "fastbp.io": "read write read_plain require_safetensors",
    "fastbp.files": "write_whole",
    "fastbp.saving": "save load",
    "fastbp.exchange.methods": "Sequential",
    "fastbp.engine": "train_step train_epoch evaluate forward backward step predict serial",
    "fastbp.engine.memory": "Training",
    "fastbp.gemm.peak": "fma_speed fma_peak",
    "fastbp.kernels.softmax": "softmax",
    "fastbp._llvm": "ticks",
    "fastbp._jit": "StaleCaller",
    "fastbp._check": "ShapeError DtypeError",
    "fastbp.sklearn": "MLPClassifier MLPRegressor",
}


@pytest.mark.parametrize(("module", "names"), IMPORTED.items(), ids=IMPORTED.keys())
def test_what_programs_import_is_found_where_it_was(module, names):
    for name in names.split():
        getattr(importlib.import_module(module), name)


def test_a_class_is_one_under_both_names():
    from fastbp.checkpoints import Checkpoint
    from fastbp.exchange import onnx
    from fastbp.model import Sequential

    from fastbp.io import read, torch
    from fastbp.io.onnx import export
    from fastbp.io.safetensors import read as read_now
    from fastbp.layers import normals
    from fastbp.layers.initial import normals as normals_now

    assert (Sequential, Checkpoint, onnx, read, normals) == (
        fb.Sequential,
        fb.Checkpoint,
        export,
        read_now,
        normals_now,
    )
    assert importlib.import_module("fastbp.exchange.torch") is torch


def test_former_names_hide_nothing():
    import fastbp.check_gradients
    import fastbp.kernels.samples  # noqa: F401

    assert callable(fb.check_gradients)
    for module in (fb, importlib.import_module("fastbp.io"), importlib.import_module("fastbp.data")):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            _ = module.nothing
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fastbp.exchange.nothing")


# ------------------------------------------------------------------------------------------------------------- pickles


@pytest.mark.parametrize("name", TOLD["objects"])
def test_what_a_former_version_pickled_is_what_it_was(name, makes):
    assert as_json(makes.told(unpickled(name))) == TOLD["objects"][name]["told"]


@pytest.mark.parametrize("name", [name for name, said in TOLD["objects"].items() if said["continued"] is not None])
def test_what_a_former_version_pickled_goes_on_to_the_same_bits(name, makes):
    assert as_json(makes.continued(name, unpickled(name))) == TOLD["objects"][name]["continued"]


@pytest.mark.parametrize("name", TOLD["objects"])
def test_what_a_former_version_pickled_can_be_pickled_again(name, makes):
    again = pickle.loads(pickle.dumps(unpickled(name)))
    assert as_json(makes.told(again)) == TOLD["objects"][name]["told"]


def test_a_process_that_has_not_imported_fastbp_unpickles_what_a_former_version_wrote(run_python):
    code = f"""
        import pickle
        print(pickle.load(open({str(FILES / "network-fitted.pickle")!r}, "rb")))
        from fastbp.model import Sequential
        import fastbp.explanation as report, fastbp
        assert (Sequential, report.Explanation) == (fastbp.Sequential, fastbp.Explanation)
    """
    assert run_python(code).stdout == f"{unpickled('network-fitted')}\n"


@pytest.mark.parametrize("mode", [None, "r"])
@pytest.mark.parametrize("name", TOLD["joblib"])
def test_what_joblib_wrote_is_what_it_was(name, mode, makes):
    joblib = pytest.importorskip("joblib")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to unpickle estimator")
        found = joblib.load(FILES / name, mmap_mode=mode)
    assert as_json(makes.told(found)) == TOLD["joblib"][name]
    if isinstance(found, fb.Sequential):
        expected = TOLD["objects"][name.removesuffix(".joblib")]["continued"]
        assert makes.continued(name, found) == expected


# ----------------------------------------------------------------------------------------------- model files and fits


@pytest.mark.parametrize("name", TOLD["models"])
def test_a_model_file_of_a_former_version_is_read_and_written_again(name, makes, tmp_path):
    pytest.importorskip("safetensors")
    net = fb.Sequential.load(FILES / f"{name}.safetensors")
    assert as_json(makes.told_model(net)) == TOLD["models"][name]
    net.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (FILES / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("name", TOLD["fits"])
def test_a_fit_that_was_killed_under_a_former_version_goes_on_to_the_same_bits(name, makes, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "checkpoint.safetensors"
    shutil.copy(FILES / f"{name}.safetensors", path)
    seconds = safetensors.read(path)[0]["checkpoint.history.seconds"]
    net = makes.FITS[name](path, kills=False)
    assert as_json(makes.told_fit(net)) == TOLD["fits"][name]
    assert net.history.seconds[: len(seconds)] == seconds.tolist()  # the epochs before were not trained again
    assert as_json(makes.told_fit(makes.FITS[name](path, kills=False))) == TOLD["fits"][name]


# ----------------------------------------------------------------------------------------- functions that users cached


@pytest.mark.parametrize("name", CACHED)
def test_a_function_cached_against_a_former_version_is_refused(name, monkeypatch):
    if [numba.__version__, *sys.version_info[:2]] != [TOLD["numba"], *TOLD["python"]]:
        pytest.skip("another version of numba or Python reads no such file")
    monkeypatch.syspath_prepend(FORMER)  # for the module that it stands in
    # numba unpickles the index before it looks whether it is of use, and all of a data file before it runs any of it
    signature, content = pickle.loads(gzip.decompress((FILES / f"{name}.cached.gz").read_bytes()))
    assert isinstance(signature, tuple)
    with pytest.raises(StaleCaller, match="compiled against another version of fastbp; delete its cache files"):
        CompileResult._rebuild(cpu_target.target_context, *content)
