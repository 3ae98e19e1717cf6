"""Real packages, where there are any: `../shared/corpus` beside the project.

    @pytest.mark.parametrize("name", NAMES)
    def test_every_package_survives(corpus: Corpus, name: str) -> None:
        program = load_program(corpus.path(name))

Packages that come without weights are filled, when they are first asked for, with numbers that mean nothing. Without the folder there are
no names, so that such tests are skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2] / "shared" / "corpus"
GRAPH_ONLY: Final = ROOT / "graph-only"


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.mlpackage")))


REAL: Final = _names(ROOT)
"""The packages that have their weights."""
FILLED: Final = _names(GRAPH_ONLY)
"""The packages whose weights are made up."""
NAMES: Final = (*REAL, *FILLED)
REFUSED: Final = frozenset({"stub_bge_base_bad_dtype"})
"""What coremltools does not open: its manifest names a folder of weights that is not there."""

full: Final = pytest.mark.skipif(
    os.environ.get("MLPASSES_FULL") != "1", reason="every package, through coremltools: set MLPASSES_FULL=1 to run it (minutes)"
)
"""Marks tests that hold a matrix of packages against coremltools; the default run has a part of each."""


class Corpus:
    """The packages by name. Read them, never write to them."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._fill: Callable[[list[str]], None] | None = None

    def path(self, name: str) -> Path:
        """Where a package is, with weights in it."""
        if name in REAL:
            return ROOT / f"{name}.mlpackage"
        filled = self._scratch / f"{name}.mlpackage"
        if not filled.exists():
            if self._fill is None:
                self._fill = _load_script()
            with contextlib.redirect_stdout(io.StringIO()):
                self._fill([str(GRAPH_ONLY / f"{name}.mlpackage"), str(filled)])
        return filled


def _load_script() -> Callable[[list[str]], None]:
    spec = importlib.util.spec_from_file_location("fill_weights", GRAPH_ONLY / "fill_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], None] = module.main
    return main


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The real packages; tests that ask for it without a parameter of `NAMES` are skipped where there are none."""
    if not NAMES:
        pytest.skip(f"there are no packages in {ROOT}")
    return Corpus(tmp_path_factory.mktemp("corpus"))
