"""Write the files of this folder, with the version that they are to stand for on the path:

    git worktree add ../former COMMIT
    PYTHONPATH=../former python tests/former/write.py tests/former/files

None of them is ever written anew: what a version wrote is what later ones must read. `told.json` holds what that version
said of them. Of files that numba cached, the machine code is left out, which no other version may run.
"""

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import makes
import numba

import fastbp

PROTOCOL = 4  # the latest that all Pythons can read


def write_objects(folder, scratch):
    for name, make in makes.OBJECTS.items():
        made = make(scratch)
        content = pickle.dumps(made, PROTOCOL)
        (folder / f"{name}.pickle").write_bytes(content)
        told = makes.told(pickle.loads(content))
        yield name, {"told": told, "continued": makes.continued(name, pickle.loads(content))}


def write_joblib(folder):
    import joblib

    for name in ("network-fitted", "classifier"):
        joblib.dump(makes.OBJECTS[name](None), folder / f"{name}.joblib")
        yield f"{name}.joblib", makes.told(joblib.load(folder / f"{name}.joblib"))


def write_models(folder, scratch):
    for name, make in makes.MODELS.items():
        net = make(scratch)
        net.save(folder / f"{name}.safetensors")
        yield name, makes.told_model(net)


def write_fits(folder, scratch):
    for name, fit in makes.FITS.items():
        command = [sys.executable, __file__, "kill", name, str(folder / f"{name}.safetensors")]
        assert subprocess.run(command).returncode == 9
        yield name, makes.told_fit(fit(os.path.join(scratch, name), kills=False))


def write_caches(folder):
    """What numba pickled of each function of `former_cached`: the signature in its index, and the data file."""
    import former_cached
    from numba.core.serialize import dumps

    for name, arguments in former_cached.arguments().items():
        function = getattr(former_cached, name)
        function._cache.flush()
        try:
            function(*arguments)
        except ValueError:
            assert name == "refused"
        index = function._cache._cache_file
        [((signature, *_), file)] = index._load_index().items()
        _library, *rest = index._load_data(file)
        content = dumps((signature, (None, *rest)))
        (folder / f"{name}.cached.gz").write_bytes(gzip.compress(content, mtime=0))


def modules():
    """The names of all modules of the version on the path."""
    root = Path(fastbp.__file__).parent
    for path in sorted(root.rglob("*.py")):
        yield ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def main(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        told = {
            "python": list(sys.version_info[:2]),
            "numba": numba.__version__,
            "modules": list(modules()),
            "objects": dict(write_objects(folder, scratch)),
            "joblib": dict(write_joblib(folder)),
            "models": dict(write_models(folder, scratch)),
            "fits": dict(write_fits(folder, scratch)),
        }
        write_caches(folder)
    (folder / "told.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        makes.FITS[sys.argv[2]](sys.argv[3], kills=True)
    else:
        main(Path(sys.argv[1]))
