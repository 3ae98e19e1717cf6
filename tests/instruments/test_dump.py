"""The program's text around passes, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ir.text import parse, parse_fragment
from mlpasses.cleanup.dce import DeadCode
from mlpasses.cleanup.sort import SortTopologically
from mlpasses.errors import ConfigError
from mlpasses.instruments.dump import Dump
from mlpasses.manager import run
from mlpasses.pipeline import Pipeline, Repeat
from tests.instruments.test_changes import TEXT


def test_each_pass_has_its_text_before_and_after(tmp_path: Path) -> None:
    run(parse_fragment(TEXT), Pipeline(SortTopologically(), Repeat(DeadCode())), instruments=[Dump(tmp_path / "a/b")])
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == [
        "001-sort-topologically.after.txt", "001-sort-topologically.before.txt", "002-dead-code.after.txt", "002-dead-code.before.txt",
        "003-dead-code.after.txt", "003-dead-code.before.txt",
    ]  # fmt: skip
    assert len(list(parse((tmp_path / "a/b/002-dead-code.before.txt").read_text()).ops("relu"))) == 2
    assert len(list(parse((tmp_path / "a/b/002-dead-code.after.txt").read_text()).ops("relu"))) == 1


def test_only_the_passes_that_are_named_are_dumped(tmp_path: Path) -> None:
    run(parse_fragment(TEXT), Pipeline(SortTopologically(), DeadCode()), instruments=[Dump(tmp_path, ["dead-code"])])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["002-dead-code.after.txt", "002-dead-code.before.txt"]


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"001-dead-code\.before\.txt cannot be written: "):
        run(parse_fragment(TEXT), DeadCode(), instruments=[Dump(tmp_path / "file")])
