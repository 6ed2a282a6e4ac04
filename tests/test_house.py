"""The rules of the layout, read from the files and their import statements."""

import ast
import graphlib
import importlib
import types
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE_MAY_IMPORT = {
    "lstm_sched.data.windows"
}  # how a step finds its samples in the series is part of every step
ABOVE_ALL = {
    "lstm_sched",
    "lstm_sched.compare",
}  # the list of public names; the comparison of anybody's model


@cache
def modules() -> dict[str, Path]:
    """Every module of both packages by its name."""
    files = [
        path.relative_to(ROOT)
        for name in ("lstm_sched", "experiments")
        for path in (ROOT / name).rglob("*.py")
    ]
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__"): ROOT / file for file in files}


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of both packages that a module names in its imports, wherever in the file they stand."""
    names = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import in line {node.lineno}"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else str(node.module) for name in whole}
    return frozenset(names & modules().keys())


def room(module: str) -> str:
    """The experiment, or the sub-package of the library, that holds a module; "" for those above them."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if (ROOT / package / name / "__init__.py").is_file() and name else ""


def breaches(allowed) -> list[str]:
    """The imports that a rule does not allow, as text."""
    return [
        f"{module} imports {name}"
        for module in sorted(modules())
        for name in sorted(imports(module))
        if not allowed(module, name)
    ]


def test_experiments_are_packages():
    assert {path.name for path in (ROOT / "experiments").iterdir() if path.is_file()} == {
        "__init__.py",
        "__main__.py",
        "README.md",
    }


def test_imports_have_no_cycle():
    graphlib.TopologicalSorter({module: imports(module) for module in modules()}).prepare()


def test_the_library_imports_no_experiment():
    assert not breaches(
        lambda module, name: module.startswith("experiments") or name.startswith("lstm_sched")
    )


def test_experiments_import_no_other_experiment():
    def allowed(module, name):
        if not (module.startswith("experiments.") and name.startswith("experiments.")):
            return True
        return room(name) in ("harness", room(module))

    assert not breaches(allowed)


def test_core_modules_import_no_subject():
    def allowed(module, name):
        if not module.startswith("lstm_sched") or room(module) or module in ABOVE_ALL:
            return True
        return not room(name) or name in CORE_MAY_IMPORT

    assert not breaches(allowed)


@pytest.mark.parametrize("folder", ["lstm_sched", "experiments", "tests"])
def test_a_file_has_at_most_450_lines(folder):
    lines = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")
    }
    assert not {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 450}


@pytest.mark.parametrize("package", [name for name, path in modules().items() if path.name == "__init__.py"])
def test_no_module_is_hidden_by_what_its_package_exports(package):
    exported = vars(importlib.import_module(package))
    submodules = {name.removeprefix(f"{package}.") for name in modules() if name.startswith(f"{package}.")}
    assert not {
        name for name in submodules & exported.keys() if not isinstance(exported[name], types.ModuleType)
    }
