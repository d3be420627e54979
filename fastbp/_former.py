"""Former names of modules, under which pickles, cached functions and programs made with earlier versions look for them.

A module is found under its former name as the very module that it is now: a class has one identity under both.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

FORMER = {
    "_jit": "compiler.jit",
    "_code": "compiler.code",
    "_live": "compiler.live",
    "_llvm": "compiler.llvm",
    "_check": "compiler.faults",
    "_raised": "compiler.raised",
    "_refusal": "compiler.refusal",
    "_vector": "compiler.vector",
    "turns": "parallel.turns",
    "gemm.clock": "parallel.clock",
    "gemm.pace": "parallel.sharing_account",
    "gemm.region": "parallel.region",
    "gemm.sharing": "parallel.sharing",
    "gemm.team": "parallel.team",
    "kernels.costs": "kernels.loss_formulas",
    "kernels.formulas": "kernels.activation_formulas",
    "kernels.passes": "kernels.activation_passes",
    "kernels.samples": "kernels.loss_arguments",
    "kernels.updates": "kernels.update_rules",
    "engine.custom": "engine.operations.custom",
    "engine.dense": "engine.operations.dense",
    "engine.dropout": "engine.operations.dropout",
    "engine.few": "engine.small_predict",
    "engine.gradient": "engine.cost_gradient",
    "engine.many": "engine.jobs",
    "engine.order": "engine.shuffle",
    "engine.paths": "engine.step_paths",
    "engine.snapshot": "engine.finite",
    "engine.steps": "engine.train",
    "model": "sequential",
    "lowering": "network.configure",
    "samples": "network.samples",
    "saving": "io.model_file",
    "files": "io.files",
    "exchange.arrays": "io.tensors",
    "exchange.graph": "io.onnx.graph",
    "exchange.methods": "sequential",
    "exchange.onnx": "io.onnx.export",
    "exchange.onnx_activations": "io.onnx.activations",
    "exchange.parts": "io.pieces",
    "exchange.sklearn": "io.sklearn",
    "exchange.state_dict": "io.state_dict",
    "exchange.torch": "io.torch",
    "checkpoints": "callbacks.checkpoint",
    "tensorboard": "callbacks.tensorboard",
    "pruning": "callbacks.optuna",
    "epochs": "training.run",
    "batches": "training.batches",
    "rollback": "training.rollback",
    "many": "training.many",
    "jobs": "training.jobs",
    "history": "training.history",
    "metrics": "training.metrics",
    "arrays": "data.arrays",
    "mapped": "data.mapped",
    "delimited": "data.delimited",
    "npz": "data.npz",
    "tables": "data.tables",
    "targets": "data.targets",
    "sklearn.scores": "data.scores",
    "check_gradients": "inspect.gradients",
    "explain": "inspect.explain",
    "explanation": "inspect.report",
    "tabular": "inspect.tabular",
    "trial": "inspect.probe",
    "versions": "inspect.versions",
    "warm": "commands.warm_up",
}  # fmt: skip
PACKAGES = ("exchange",)  # whose modules have gone to several places

# Modules that gave up some of their names: where those are now.
SPLIT = {
    "compiler.jit": ("compiler.cache",),
    "attributes": ("checks",),
    "data": ("data.convert",),
    "io": ("io.safetensors",),
    "layers": ("layers.initial", "layers.custom", "data.parameters"),
    "schedules": ("checks",),
}


def module(name: str) -> ModuleType:
    """Return the module of that name within fastbp, imported if need be."""
    return importlib.import_module(f"fastbp.{name}")


class FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `fastbp.model` and the like; asked only for names that Python itself does not find."""

    def find_spec(self, name, path, target=None):
        package, _, former = name.partition(".")
        if package != "fastbp" or (former not in FORMER and former not in PACKAGES):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=former in PACKAGES)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return a stand-in that the import system may write on."""
        return ModuleType(spec.name)

    def exec_module(self, stand_in: ModuleType) -> None:
        """Put the module itself in the stand-in's place, which the import system then hands out."""
        former = stand_in.__name__.partition(".")[2]
        if former in FORMER:
            sys.modules[stand_in.__name__] = module(FORMER[former])


def attribute(owner: str, places: tuple[str, ...]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that once had the names which the modules `places` have now."""

    def find(name: str) -> Any:
        for place in places if not name.startswith("_") else ():
            if hasattr(module(place), name):
                return getattr(module(place), name)
        raise AttributeError(f"module {owner!r} has no attribute {name!r}")

    return find


def submodule(name: str) -> ModuleType:
    """Return a module of fastbp by its former name: importing fastbp once bound them all."""
    if name in FORMER or name in PACKAGES:
        return module(name)
    raise AttributeError(f"module 'fastbp' has no attribute {name!r}")


def install() -> None:
    """Let Python find modules, and what has moved from one to another, by their former names."""
    sys.meta_path.append(FormerNames())
    # imported later it would take the place of the function `fastbp.check_gradients`
    sys.modules["fastbp.check_gradients"] = module(FORMER["check_gradients"])
    for owner, places in SPLIT.items():
        vars(module(owner))["__getattr__"] = attribute(f"fastbp.{owner}", places)
    vars(sys.modules["fastbp"])["__getattr__"] = submodule
    # in `exchange.methods` a class of methods that networks inherited
    vars(module("sequential")).setdefault("Exchange", module("sequential").Sequential)
