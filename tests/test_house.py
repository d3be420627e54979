"""The structure of the package, read from its sources: bounds that keep modules apart, functions short and files readable."""

import ast
import re
import statistics
from pathlib import Path
from typing import NamedTuple

import pytest

import fastbp

PACKAGE = Path(fastbp.__file__).parent

ROOT_MODULES = 16
IMPORTS_IN_FUNCTIONS = 6  # of the package itself, outside commands and examples
PRIVATE_MEMBERS = 60  # of objects other than self, those of numba and scikit-learn too
FUNCTION_LINES = 60  # lines of code, a factory with the functions that it encloses
LONG_FUNCTIONS = 1
MEDIAN_FUNCTION, P90_FUNCTION = 6, 16
FILE_LINES = 350
LONG_FILES = 2


class Import(NamedTuple):
    line: int
    target: str
    in_function: bool


class Module(ast.NodeVisitor):
    """What one source file imports, which private members it reads, and how long its functions are."""

    def __init__(self, path, name, package):
        self.path, self.name, self.package = path, name, package  # package: the names of all modules
        self.imports, self.private, self.functions = [], [], []
        self.lines = path.read_text().splitlines()
        self.depth = 0  # of functions
        self.visit(ast.parse(path.read_text()))

    def place(self, line):
        return f"{self.name}:{line}"

    def visit_If(self, node):
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            return self.generic_visit(node)
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node):
        for alias in node.names:
            self.add_import(node, alias.name)

    def visit_ImportFrom(self, node):
        start = ""
        if node.level:
            parts = self.name.split(".") + ["__init__"] * (self.path.name == "__init__.py")
            start = ".".join(parts[: -node.level])
        base = ".".join(filter(None, [start, node.module]))
        for alias in node.names:
            inside = f"{base}.{alias.name}"
            self.add_import(node, inside if inside in self.package else base)

    def add_import(self, node, target):
        if target in self.package and target != self.name:
            self.imports.append(Import(node.lineno, target, self.depth > 0))

    def visit_FunctionDef(self, node):
        first = node.body[0].end_lineno + 1 if ast.get_docstring(node, clean=False) is not None else node.lineno
        lines = (line.strip() for line in self.lines[first - 1 : node.end_lineno])
        code = sum(1 for line in lines if line and not line.startswith("#"))
        self.functions.append((code, f"{self.place(node.lineno)} {node.name} has {code} lines"))
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Attribute(self, node):
        owner = ast.unparse(node.value)
        if re.match("_(?!_)", node.attr) and owner not in ("self", "cls") and not owner.startswith("super("):
            self.private.append(f"{self.place(node.lineno)} {owner}.{node.attr}")
        self.generic_visit(node)


def read(root):
    """The modules below a package's folder, by name."""
    paths = {}
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    return {name: Module(path, name, paths.keys()) for name, path in paths.items()}


def in_cycles(modules):
    """The names of the modules that import themselves by way of others, each with the imports that lead back to it."""

    def reached_from(name):
        found, ahead = set(), [name]
        while ahead:
            for entry in modules[ahead.pop()].imports:
                if entry.target not in found:
                    found.add(entry.target)
                    ahead.append(entry.target)
        return found

    reached = {name: reached_from(name) for name in modules}
    for name in modules:
        if name in reached[name]:
            back = sorted({entry.target for entry in modules[name].imports if name in reached[entry.target]})
            yield f"{name} imports {', '.join(back)}"


def imports_in_functions(modules):
    for module in modules.values():
        for entry in module.imports:
            if entry.in_function and not module.name.startswith(("fastbp.commands", "fastbp.examples")):
                yield f"{module.place(entry.line)} imports {entry.target}"


@pytest.fixture(scope="module")
def modules():
    return read(PACKAGE)


@pytest.fixture(scope="module")
def functions(modules):
    return [entry for module in modules.values() for entry in module.functions]


def rule_of_imports():
    return (PACKAGE.parent / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]


def check(found, bound):
    found = list(found)
    assert len(found) <= bound, "\n".join([f"{len(found)}, expected at most {bound}:", *found])


def test_no_module_imports_itself_by_way_of_others(modules):
    check(in_cycles(modules), 0)


def test_few_imports_stand_in_functions(modules):
    check(imports_in_functions(modules), IMPORTS_IN_FUNCTIONS)


def test_few_private_members_of_other_objects_are_read(modules):
    check((place for module in modules.values() for place in module.private), PRIVATE_MEMBERS)


def test_few_modules_stand_at_the_root():
    check((path.name for path in sorted(PACKAGE.glob("*.py"))), ROOT_MODULES)


def test_the_rule_of_imports_has_no_exceptions():
    assert "ignore_imports" not in rule_of_imports()


def test_the_readme_shows_the_rows_of_the_rule():
    rows = re.findall('"(fastbp.+)"', rule_of_imports().partition("layers = [")[2])
    order = {name: i for i, row in enumerate(rows) for name in re.findall(r"fastbp\.(\w+)", row)}
    table = (PACKAGE / "README.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    shown = [name for row in re.findall(r"^\| (`.+?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert shown == sorted(order, key=lambda name: (order[name], shown.index(name) if name in shown else -1))


def test_functions_are_short(functions):
    lengths = sorted(length for length, _ in functions)
    assert statistics.median_high(lengths) <= MEDIAN_FUNCTION
    assert lengths[len(lengths) * 9 // 10] <= P90_FUNCTION
    check((place for length, place in functions if length > FUNCTION_LINES), LONG_FUNCTIONS)


def test_files_are_short(modules):
    long = [module for module in modules.values() if len(module.lines) > FILE_LINES]
    check((f"{module.name} has {len(module.lines)} lines" for module in long), LONG_FILES)


# ------------------------------------------------------------------------------------------------- how this is counted

SOURCES = {
    "__init__": "",
    "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import c\nfrom . import b\n",
    "b": "def f(x):\n    import house.a\n    return x._private + self._own + super()._own + x.__class__.__name__\n",
    "c": 'import house.d.e\ndef g():\n    """Two\n\n    lines."""\n    # none\n\n    def h(): return 1\n    return h\n',
    "d/__init__": "from .e import thing\n",
    "d/e": "thing = 1\n",
}


def test_the_figures_are_those_of_the_sources(tmp_path):
    for name, text in SOURCES.items():
        path = tmp_path / "house" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    modules = read(tmp_path / "house")
    assert list(in_cycles(modules)) == ["house.a imports house.b", "house.b imports house.a"]
    assert list(imports_in_functions(modules)) == ["house.b:2 imports house.a"]
    assert [place for module in modules.values() for place in module.private] == ["house.b:3 x._private"]
    assert [entry.target for entry in modules["house.d"].imports] == ["house.d.e"]
    assert [entry for module in modules.values() for entry in module.functions] == [
        (3, "house.b:1 f has 3 lines"),
        (2, "house.c:2 g has 2 lines"),
        (1, "house.c:8 h has 1 lines"),
    ]
