"""The cache, code called by address, the live state: each claim in fresh processes, as users meet it."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target

import fastbp
from fastbp.compiler import cache as compiler_cache
from fastbp.compiler import code, jit

PACKAGE = Path(fastbp.__file__).parent
SAYS_COMPILING = "fastbp: compiling kernels for this CPU, once\n"

# twice the strided ones are copied by compiler/strided.py: the code that the tests below edit
SUM_OF_STRIDED_ONES = """
    import numpy as np
    from fastbp.kernels import dense
    print(dense.bias_gradient(np.ones((6, 4), np.float32)[::2, ::2]))
"""

PARALLEL_SUMS = """
    import os, sys, threading
    import numba, numpy as np
    from numba import njit, prange
    from fastbp.kernels import dense

    delta = (np.arange(512 * 640) % 9973 / 9973).astype(np.float32).reshape(512, 640)
    wanted = dense.bias_gradient(delta)

    def same():
        return dense.bias_gradient(delta).tobytes() == wanted.tobytes()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The folder of a copy of the package, which a test may edit."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(PACKAGE, folder / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def first_run(run_python, source, tmp_path_factory):
    """What the first run in an empty cache says, and that cache."""
    cache = tmp_path_factory.mktemp("cache")
    return run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache), cache


@pytest.fixture
def edited_source(source):
    """The copy of the package with an edited callee: a function in compiler/ whose change doubles the kernel's result."""
    place = source / "fastbp" / "compiler" / "strided.py"
    text = place.read_text()
    edited = text.replace("read(source + i * srs", "real(2) * read(source + i * srs")
    assert edited != text

    def edit():
        place.write_text(edited)
        return source

    yield edit
    place.write_text(text)


# ---------------------------------------------------------------------------------------------------------- the cache


def test_the_first_compilation_says_one_line_and_the_next_process_none(run_python, source, first_run):
    done, cache = first_run
    assert (done.stdout, done.stderr) == ("[3. 3.]\n", SAYS_COMPILING)
    again = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache)
    assert (again.stdout, again.stderr) == ("[3. 3.]\n", "")


def test_an_edited_callee_is_compiled_anew(run_python, edited_source, first_run):
    _, cache = first_run
    done = run_python(SUM_OF_STRIDED_ONES, path=[edited_source()], cache=cache)
    assert (done.stdout, done.stderr) == ("[6. 6.]\n", SAYS_COMPILING)


def test_truncated_cache_files_are_compiled_again_with_a_warning(run_python, source, first_run, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(first_run[1], cache)
    files = [*cache.rglob("*.nbi"), *cache.rglob("*.nbc")]
    for file in files:
        os.truncate(file, file.stat().st_size // 2)
    recovered = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache)
    assert len(files) > 4
    assert recovered.stdout == "[3. 3.]\n"
    assert "fastbp cannot read its compiler cache" in recovered.stderr
    afterwards = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache)
    assert (afterwards.stdout, afterwards.stderr) == ("[3. 3.]\n", "")


def flip(file, place):
    """Flip a bit, at that share of the file."""
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)


def exchange(files):
    """Give each file the content of the next."""
    for file, content in zip(files, [f.read_bytes() for f in (*files[1:], files[0])], strict=True):
        file.write_bytes(content)


DAMAGES = {
    "a bit of the machine code": lambda cache: [flip(file, 0.6) for file in cache.rglob("*.nbc")],
    "a bit of an index": lambda cache: [flip(file, 0.7) for file in cache.rglob("*.nbi")],
    "exchanged data files": lambda cache: exchange(sorted(cache.rglob("*.nbc"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_exchanged_cache_files_are_compiled_again(damage, run_python, source, first_run, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(first_run[1], cache)
    DAMAGES[damage](cache)
    recovered = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache)
    assert recovered.stdout == "[3. 3.]\n"
    assert SAYS_COMPILING in recovered.stderr
    afterwards = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=cache)
    assert (afterwards.stdout, afterwards.stderr) == ("[3. 3.]\n", "")


def test_no_flipped_bit_of_a_cache_file_is_overlooked(tmp_path):
    file = type(compiler_cache.package_cache(run_with_layer)._cache_file)(str(tmp_path), "function", 1)
    file.save("key", "code")
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        for i in range(8 * len(content)):
            damaged = bytearray(content)
            damaged[i // 8] ^= 1 << i % 8
            path.write_bytes(damaged)
            with contextlib.suppress(compiler_cache.DamagedFile):
                assert file.load("key") is None
        path.write_bytes(content)
    assert file.load("key") == "code"


def test_an_index_that_is_damaged_before_a_save_costs_a_warning_only(tmp_path, monkeypatch):
    cache = compiler_cache.package_cache(run_with_layer)
    monkeypatch.setattr(cache, "_cache_file", type(cache._cache_file)(str(tmp_path), "function", 1))
    cache._cache_file.save("key", "code")
    (index,) = tmp_path.glob("*.nbi")
    flip(index, 0.9)
    monkeypatch.setattr(FunctionCache, "save_overload", lambda self, sig, data: self._cache_file.save(sig, data))
    with pytest.warns(UserWarning, match="fastbp cannot write its compiler cache in .*is damaged"):
        cache.save_overload("other key", None)


def test_without_any_writable_cache_folder_it_works_with_one_warning(run_python, tmp_path):
    file = tmp_path / "a regular file"
    file.touch()
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source / "fastbp", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in filter(os.path.isdir, [*source.rglob("*")]):
        (folder / "__pycache__").touch()  # no folder can be made there, not even by root
    environment = {"XDG_CACHE_HOME": str(file / "x"), "HOME": str(file / "x"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run_python(SUM_OF_STRIDED_ONES, path=[source], cache=file / "cache", **environment)
    assert done.stdout == "[3. 3.]\n"
    assert done.stderr.count("Warning") == done.stderr.count("no folder for its compiler cache is writable") == 1


def test_a_cache_that_cannot_be_written_costs_a_warning_only(monkeypatch):
    def fail(*arguments):
        raise OSError("no space left on device")

    cache = compiler_cache.package_cache(run_with_layer)
    monkeypatch.setattr(FunctionCache, "save_overload", fail)
    monkeypatch.setattr(FunctionCache, "load_overload", fail)
    monkeypatch.setattr(FunctionCache, "flush", fail)
    with pytest.warns(UserWarning, match="fastbp cannot write its compiler cache in .*no space left"):
        cache.save_overload(None, None)
    with pytest.warns(UserWarning, match="cannot (read|write) .*no space left"):
        assert cache.load_overload(None, None) is None


def test_two_processes_that_save_at_once_do_not_load_each_others_code(tmp_path, monkeypatch):
    """One saves between the other's index and data, having looked at the index before it."""
    name = type(compiler_cache.package_cache(run_with_layer)._cache_file)
    mine, other, later = (name(str(tmp_path), "function", 1) for _ in range(3))
    save_data, save_index = mine._save_data, mine._save_index

    def other_saves():
        if not later.load("other"):
            monkeypatch.setattr(other, "_load_index", dict)
            other.save("other", "code of other")

    def index_first(overloads):
        save_index(overloads)
        other_saves()

    def data_first(name, data):
        save_data(name, data)
        other_saves()
        save_data(name, data)

    for attribute, interrupted in (("_save_index", index_first), ("_save_data", data_first)):
        monkeypatch.setattr(mine, attribute, interrupted)
        mine.save("mine", "code of mine")
        for key in ("mine", "other"):
            assert later.load(key) in (f"code of {key}", None)
        mine.flush()


def test_the_key_holds_bounds_checks_options_and_sources(monkeypatch):
    def key():
        return compiler_cache.package_cache(run_with_layer)._index_key((), cpu_target.target_context.codegen())

    keys = [key()]
    monkeypatch.setattr(config, "BOUNDSCHECK", not config.BOUNDSCHECK)
    keys.append(key())
    monkeypatch.setattr(compiler_cache, "OPTIONS", {**compiler_cache.OPTIONS, "fastmath": True})
    keys.append(key())
    monkeypatch.setattr(compiler_cache, "source_hash", lambda: "another")
    keys.append(key())
    assert len(set(keys)) == 4


def test_the_serial_twin_is_cached_apart_and_never_starts_threads(run_python):
    code = """
        import numpy as np
        from fastbp import _code, _jit, _live
        from fastbp.kernels import dense
        delta = np.ones((512, 512), np.float32)
        kernel = {}
        print(kernel(delta).sum(), _live.start_threads.cache_info().currsize)
    """
    twins = {"dense.bias_gradient.serial": "262144.0 0\n", "dense.bias_gradient": "262144.0 1\n"}
    for kernel, wanted in [*twins.items(), *twins.items()]:  # the second time from the cache
        assert run_python(code.replace("{}", kernel)).stdout == wanted


# ------------------------------------------------------------------------------------------- what the environment asks for


def test_where_numba_must_not_compile_the_import_says_what_to_do(run_python):
    code = """
        try:
            import fastbp
        except ImportError as error:
            print(error)
    """
    said = run_python(code, NUMBA_DISABLE_JIT="1").stdout
    assert said.startswith("NUMBA_DISABLE_JIT: got 1, expected 0: ")
    assert said.count("\n") == 1


def test_where_numba_must_no_longer_compile_the_first_use_says_what_to_do(monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    with pytest.raises(ImportError, match="NUMBA_DISABLE_JIT: got 1, expected 0: fastbp is made of compiled functions"):
        jit.inner(lambda x: x)


WITHOUT_THREADS = """
    import numpy as np
    import fastbp as fb
    from fastbp import engine, kernels

    net = fb.Sequential(fb.Dense(64, 256), fb.Dense(256, 200))  # large enough to be shared, and to be updated by threads
    x, y = np.ones((200, 64), np.float32), np.zeros(200, np.int64)
    training = net.training("softmax_cross_entropy", "sgd")

    def state():
        s = net.state
        return [a.tobytes() for a in (s.values, s.moments, s.counters)], s.rule, net._rows, net.history

    def try_(work):
        before = state()
        try:
            work()
        except ValueError as error:
            assert str(error).startswith("NUMBA_THREADING_LAYER: got 'nonsense', which cannot be loaded here"), error
            assert "\\n" not in str(error)
        else:
            raise AssertionError("no error")
        assert state() == before
"""
USES = {
    "fit": "net.fit(x, y, batch_size=200, optimizer='sgd')",
    "fit on minibatches": "net.fit([(x, y)], optimizer='adam')",
    "fit_many": "fb.fit_many([net], x, y)",
    "predict": "net.predict(x)",
    "evaluate": "net.evaluate(x, y)",
    "forward": "net.forward(x)",
    "step": "net.step('adam')",
    "a kernel": "kernels.bias_gradient(x)",
    "a verb": "engine.train_step(training, x[:32], y[:32])",
}


def test_a_threading_layer_that_cannot_be_had_is_said_before_anything_changes(run_python):
    code = WITHOUT_THREADS + "".join(f"\n    try_(lambda: {use})" for use in USES.values()) + "\n    print('all')"
    done = run_python(code, cache=None, NUMBA_THREADING_LAYER="nonsense")
    assert (done.stdout, "Warning" in done.stderr) == ("all\n", False)


def test_info_says_what_is_wrong_with_the_threading_layer(run_python):
    said = run_python("import fastbp; fastbp.show_versions()", cache=None, NUMBA_THREADING_LAYER="nonsense").stdout
    assert re.search("threading layer +none: NUMBA_THREADING_LAYER: got 'nonsense'", said)


# ------------------------------------------------------------------------------------------- functions that users cache

USERS_MODULE = """
import ctypes
import numpy as np
from numba import carray, cfunc, njit, prange, types
from fastbp.kernels import dense, serial

@njit(cache=True)
def doubled(delta):
    return 2 * dense.bias_gradient(delta)

@njit(cache=True)
def quadrupled(delta):
    return 2 * doubled(delta)

@njit(cache=True, parallel=True)
def in_prange(delta):
    sums = np.empty((2, delta.shape[1]), delta.dtype)
    for i in prange(2):
        sums[i] = serial.bias_gradient(delta)
    return sums[0] + sums[1]

def through_c(address):
    delta = carray(address, (3, 2), np.float32)
    return dense.bias_gradient(delta).sum() + doubled(delta).sum()

def run(f):
    try:
        print(f(np.ones((6, 4), np.float32)[::2, ::2]), sum(f.stats.cache_hits.values()), "from the cache")
    except RuntimeError as error:
        print(type(error).__name__, error)

def run_through_c():
    try:
        f = cfunc(types.float32(types.CPointer(types.float32)), cache=True)(through_c)
        delta = np.ones((3, 2), np.float32)
        print(f.ctypes(delta.ctypes.data_as(ctypes.POINTER(ctypes.c_float))), f.cache_hits, "from the cache")
    except RuntimeError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def run_users_function(run_python, source, first_run, tmp_path):
    """run(name): what a function in a user's module prints in a fresh process; the kernel itself is in the cache."""
    (tmp_path / "users_module.py").write_text(USERS_MODULE)

    def run(name):
        code = f"import users_module; users_module.run(users_module.{name})".replace(
            "run(users_module.c)", "run_through_c()"
        )
        return run_python(code, path=[source, tmp_path], cache=first_run[1]).stdout

    return run


def test_a_users_cached_function_finds_the_kernels_again(run_users_function):
    assert run_users_function("doubled") == "[6. 6.] 0 from the cache\n"
    assert run_users_function("doubled") == "[6. 6.] 1 from the cache\n"


def test_a_users_cached_function_finds_the_kernels_again_through_another_one(run_users_function):
    assert run_users_function("doubled") == "[6. 6.] 0 from the cache\n"
    assert run_users_function("quadrupled") == "[12. 12.] 0 from the cache\n"
    assert run_users_function("quadrupled") == "[12. 12.] 1 from the cache\n"


def test_a_users_cached_loop_on_threads_finds_the_kernels_again(run_users_function):
    assert run_users_function("in_prange") == "[6. 6.] 0 from the cache\n"
    assert run_users_function("in_prange") == "[6. 6.] 1 from the cache\n"


def test_a_users_cached_c_function_finds_the_kernels_again(run_users_function):
    """Also those that it calls by way of a cached function: numba's list of hooks for loading is lost on both ways."""
    assert run_users_function("doubled") == "[6. 6.] 0 from the cache\n"
    assert run_users_function("c") == "18.0 0 from the cache\n"
    assert run_users_function("c") == "18.0 1 from the cache\n"


@pytest.mark.parametrize("name", ["doubled", "quadrupled", "in_prange", "c"])
def test_a_users_cached_function_says_when_the_kernels_have_changed(name, run_users_function, edited_source):
    run_users_function(name)
    edited_source()
    assert re.match("StaleCaller .*another version of fastbp; delete its cache files", run_users_function(name))


# ------------------------------------------------------------------------------------------------------------ threads


def test_importing_changes_nothing_of_numba_and_starts_no_threads(run_python):
    code = """
        import sys, types, numba
        from numba import cfunc, njit
        from numba.core import caching, ccallback, codegen, compiler, config, dispatcher, environment, registry

        njit(lambda: None)()  # what numba itself sets at its first function

        def settings():
            return {name: repr(value) for name, value in vars(config).items() if name.isupper()}

        def functions():
            found = {}
            for module in [m for name, m in sys.modules.items() if name.partition(".")[0] in ("numba", "llvmlite")]:
                for owner in [module, *(x for x in vars(module).values() if isinstance(x, type))]:
                    for name, x in vars(owner).items():
                        if isinstance(x, (types.FunctionType, classmethod, staticmethod, property)):
                            found[owner, name] = x
            return found

        before, kept = settings(), functions()
        import fastbp
        from fastbp.kernels import activations, dense
        assert before == settings()
        now = functions()
        assert len(kept) > 5000 and all(now[place] is x for place, x in kept.items())
        try:
            print(numba.threading_layer())
        except ValueError:
            print("no threads")
    """
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("no threads\n", "")


FORKS = """
    def in_child(work):
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if work() else 1)
            finally:
                os._exit(2)
        return os.waitpid(child, 0)[1] == 0
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_a_forked_child_and_its_child_compute_the_same_bits(run_python):
    code = (
        PARALLEL_SUMS
        + FORKS
        + """
    assert in_child(same)
    assert in_child(lambda: same() and in_child(same) and same())
    assert same()
    """
    )
    run_python(code, timeout=60)


@needs_fork
def test_a_forked_child_survives_threads_that_others_started_in_its_parent(run_python):
    """fastbp was only imported; the user's own parallel loop started the threading layer."""
    code = (
        FORKS
        + """
    import os
    import numpy as np
    from numba import njit, prange
    from fastbp.kernels import dense

    @njit(parallel=True)
    def users_loop(x):
        for i in prange(len(x)):
            x[i] += 1

    def work():
        return (dense.bias_gradient(np.ones((512, 640), np.float32)) == 512).all()

    users_loop(np.zeros(1000))
    assert in_child(work)
    """
    )
    run_python(code, timeout=60)


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_four_python_threads_at_once_compute_the_same_bits(run_python, layer):
    code = (
        PARALLEL_SUMS
        + """
    results = []
    threads = [threading.Thread(target=lambda: results.extend(same() for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    results.extend(same() for _ in range(50))
    for thread in threads:
        thread.join()
    print(numba.threading_layer(), results.count(True))
    """
    )
    assert run_with_layer(run_python, code, layer).stdout == f"{layer} 250\n"


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_kernels_within_a_users_prange_compute_the_same_bits(run_python, layer):
    code = (
        PARALLEL_SUMS
        + """
    parallel, serial = dense.bias_gradient, dense.bias_gradient.serial

    @njit(parallel=True)
    def in_prange(delta, out):
        for i in prange(len(out)):
            if i % 2 == 0:
                serial(delta, out[i])
            else:
                parallel(delta, out[i])

    for _ in range(20):
        out = np.full((16, 640), np.nan, np.float32)
        in_prange(delta, out)
        assert all(row.tobytes() == wanted.tobytes() for row in out)
    print(numba.threading_layer())
    """
    )
    assert run_with_layer(run_python, code, layer).stdout == layer + "\n"


def run_with_layer(run_python, code, layer):
    try:
        return run_python(code, NUMBA_THREADING_LAYER=layer)
    except AssertionError as error:
        if "No threading layer could be loaded" in str(error):
            pytest.skip(f"numba has no {layer} here")
        raise
    except subprocess.TimeoutExpired:
        pytest.fail("hangs")


# ------------------------------------------------------------------------------------------------------- compiled once

RESOLVES_ONCE = """
    import numpy as np
    from numba import njit
    from fastbp.compiler import code
    from fastbp import _jit, _live
    from fastbp.kernels import dense
    from reference import LAYOUTS

    resolved = []
    compile_ = code.Code._compile
    code.Code._compile = lambda self: (resolved.append(self.place), compile_(self))[1]
    delta, out = np.ones((5, 4), np.float32), np.ones(4, np.float32)

    @njit
    def with_literals(delta, out):
        dense.bias_gradient(delta, out, True)
        dense.bias_gradient(delta, out, False)
        dense.bias_gradient(delta, out, accumulate=True)

    def signatures():
        return len(dense.bias_gradient.signatures)

    with_literals(delta, out)
    print(len(resolved), len(set(resolved)), signatures())

    resolved.clear()
    for layout in ("C", "Fortran", "slice", "step", "negative step", "transposed view", "read-only"):
        for accumulate in (True, False):
            dense.bias_gradient(LAYOUTS[layout](delta), out, accumulate)
    types = {(x.layout, x.mutable) for x, *_ in dense.bias_gradient.signatures}
    print(resolved, signatures(), len(types))
"""


def test_code_is_compiled_once_whatever_the_strides_and_the_literals(run_python):
    """Wrappers: one for each set of argument types of compiled code, and from Python one for all layouts, and one for
    read-only arrays."""
    assert run_python(RESOLVES_ONCE).stdout == "7 7 1\n[] 3 3\n"


def test_code_is_resolved_by_its_place(call_code):
    from fastbp.gemm.driver import work_bytes

    found = work_bytes.of("float32")
    assert found.place == ("fastbp.gemm.driver", "work_bytes", "float32")
    assert found.resolve() == found.resolve() != 0
    code._resolve_again(found.place, compiler_cache.source_hash())
    with pytest.raises(code.StaleCaller, match="another version of fastbp"):
        code._resolve_again(found.place, "other sources")


def test_other_dtypes_get_the_code_of_float64_which_refuses_them():
    from numba import types

    assert code.dtype_name(types.float32) == code.dtype_name(types.float32[:, :]) == "float32"
    assert code.dtype_name(types.int64[:]) == code.dtype_name(types.none) == "float64"


def test_dispatchers_in_compiled_code_are_not_compiled_anew_for_each_constant():
    from numba import njit

    @jit.inner
    def add(x, y):
        return x + y

    @njit
    def caller(x):
        return add(x, 1) + add(x, 2) + add(x, y=3)

    assert caller(np.int64(1)) == 9
    assert len(add.signatures) == 1
