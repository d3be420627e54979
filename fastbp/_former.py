"""Former names of modules, under which pickles, cached functions and programs made with earlier versions look for them.

A module is found under its former name as the very module that it is now: a class has one identity under both.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

FORMER = {
    "_jit": "compiler.jit",
    "_code": "compiler.code",
    "_live": "compiler.live",
    "_llvm": "compiler.llvm",
    "_check": "compiler.arguments",
    "_raised": "compiler.raised",
    "turns": "parallel.turns",
    "model": "sequential",
    "lowering": "network.lowering",
    "samples": "network.samples",
    "saving": "io.model_file",
    "files": "io.files",
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
    "tables": "data.tables",
    "targets": "data.targets",
    "explain": "inspect.explain",
    "explanation": "inspect.report",
    "trial": "inspect.probe",
    "versions": "inspect.versions",
    "warm": "commands.warm_up",
}  # fmt: skip


class FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `fastbp.model` and the like; asked only for names that Python itself does not find."""

    def find_spec(self, name, path, target=None):
        package, _, former = name.partition(".")
        return importlib.machinery.ModuleSpec(name, self) if package == "fastbp" and former in FORMER else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """A stand-in that the import system may write on."""
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module itself in the stand-in's place, which the import system then hands out."""
        sys.modules[module.__name__] = importlib.import_module(f"fastbp.{FORMER[module.__name__.partition('.')[2]]}")


def install() -> None:
    """Let Python find modules by their former names."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
