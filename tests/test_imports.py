"""Who imports whom, and what an import costs: the lines of the architecture."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mlpasses
from mlpasses import _SOURCES

ROOT = Path(__file__).parent.parent
HEAVY = ("coremltools", "numba", "networkx", "rich", "click", "yaml", "cattrs", "google.protobuf", "numpy", "importlib.metadata")
"""What `import mlpasses` does not load."""


@cache
def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`, which prints nothing."""
    script = f"import sys\n{code}\nsys.stdout.write('|'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split("|"))


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, relative ones aside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module or ""


def files_that_import(folder: str, package: str) -> list[str]:
    """The files below a folder that import a package or something in it."""
    return [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if any(name == package or name.startswith(f"{package}.") for name in imports_of(path))
    ]


@pytest.fixture(scope="module")
def bare() -> set[str]:
    return loaded_after("")


@pytest.mark.parametrize("module", HEAVY)
def test_import_mlpasses_does_not_load(module: str, bare: set[str]) -> None:
    assert module not in loaded_after("import mlpasses") - bare


@pytest.mark.parametrize("module", ["coremltools", "numba", "networkx", "rich", "click", "yaml", "cattrs"])
def test_the_public_names_but_recipes_do_not_load(module: str, bare: set[str]) -> None:
    names = [name for name in mlpasses.__all__ if "recipe" not in name and name != "parse_pipeline"]
    assert module not in loaded_after(f"from mlpasses import {', '.join(names)}") - bare


@pytest.mark.parametrize("module", ["coremltools", "numba", "networkx", "rich", "yaml", "cattrs", "google.protobuf", "numpy"])
def test_the_help_of_the_command_line_does_not_load(module: str, bare: set[str]) -> None:
    code = "import contextlib, io\nfrom mlpasses.cli.main import main\nwith contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    assert module not in loaded_after(code) - bare


@pytest.mark.parametrize("module", ["coremltools", "numba", "networkx", "rich", "click", "yaml", "cattrs"])
def test_loading_a_model_does_not_load(module: str, bare: set[str], example: Path) -> None:
    assert module not in loaded_after(f"import mlpasses\nmlpasses.load({str(example)!r})") - bare


def test_ir_never_imports_mlpasses() -> None:
    assert files_that_import("ir", "mlpasses") == []


def test_protobuf_is_imported_in_ir_mil_only() -> None:
    files = files_that_import("ir", "google") + files_that_import("mlpasses", "google")
    assert [file for file in files if not file.startswith("ir/mil/")] == []


def test_coremltools_is_imported_in_interop_only() -> None:
    files = files_that_import("ir", "coremltools") + files_that_import("mlpasses", "coremltools")
    assert [file for file in files if not file.startswith("mlpasses/interop/")] == []


@pytest.mark.parametrize("package", ["ir.core", "ir.mil", "ir.builder", "ir.walk", "mlpasses.passes", "mlpasses.context"])
def test_numerics_know_arrays_and_no_graphs(package: str) -> None:
    assert files_that_import("mlpasses/numerics", package) == []


def test_only_the_command_line_knows_click() -> None:
    assert [file for file in files_that_import("mlpasses", "click") if not file.startswith("mlpasses/cli/")] == []


def test_modules_stay_readable() -> None:
    """Some 500 lines at most; the object model, whose classes know one another, is the exception."""
    long = {str(path.relative_to(ROOT)): count for path in _sources() if (count := path.read_text(encoding="utf-8").count("\n")) > 600}
    assert set(long) <= {"ir/core.py"}, long


def _sources() -> Iterator[Path]:
    for folder in ("ir", "mlpasses"):
        yield from (ROOT / folder).rglob("*.py")


@pytest.mark.parametrize("name", mlpasses.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mlpasses, name) is not None


def test_public_names_are_listed() -> None:
    assert set(mlpasses.__all__) == {*_SOURCES, "__version__"}
    assert set(mlpasses.__all__) <= set(dir(mlpasses))


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse((ROOT / "mlpasses/__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == _SOURCES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mlpasses' has no attribute 'nonsense'"):
        mlpasses.nonsense  # noqa: B018
