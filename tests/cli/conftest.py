"""Running command lines inside of the test process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import frozen

from mlpasses.cli.main import main


@frozen
class Ran:
    """What a command line left: exit code and output."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything, with times and versions made the same everywhere."""
        text = f"exit code {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"
        return re.sub(r"\d+\.\d+ s\b", "0.0 s", text)


Run: TypeAlias = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mlpasses` with these arguments."""

    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Path) -> Path:
    """An empty working folder beside which the example is called `model.mlpackage`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.mlpackage").symlink_to(example)
    return tmp_path


@pytest.fixture
def recipe(folder: Path) -> Path:
    """The example's recipe, in the working folder."""
    path = folder / "w8.yaml"
    path.write_text("version: 1\npasses:\n  - raise-opset: iOS18\n  - quantize-weights: {dtype: int8, mode: symmetric}\n  - dead-code\n")
    return path


def patched(monkeypatch: pytest.MonkeyPatch, target: str, error: BaseException) -> None:
    """Lets a function raise `error`."""

    def fail(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(target, fail)
