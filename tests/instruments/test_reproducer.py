"""A failure as a folder that fails in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import frozen

from ir.core import Program
from ir.mil.load import load_program
from ir.text import parse_fragment
from mlpasses import registry
from mlpasses.cleanup.dce import DeadCode
from mlpasses.cleanup.sort import SortTopologically
from mlpasses.context import Context, Frame
from mlpasses.errors import ConfigError, PassError
from mlpasses.instruments.reproducer import Reproducer, remaining
from mlpasses.manager import run
from mlpasses.passes import Pass, ProgramPass
from mlpasses.pipeline import Pipeline, Repeat
from mlpasses.recipe import load_recipe
from tests.instruments.test_changes import TEXT


@frozen
class Spoil(ProgramPass):
    """Erases an op, then fails."""

    def run(self, program: Program, cx: Context) -> int:
        next(op for op in program.ops("relu") if not op.output.is_used).erase()
        raise ValueError("spoilt")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "spoil": f"{__name__}:Spoil"})


def failed(folder: Path, pipeline: Pass) -> PassError:
    with pytest.raises(PassError) as raised:
        run(parse_fragment(TEXT), pipeline, instruments=[Reproducer(folder)])
    return raised.value


def test_folder_holds_the_program_before_the_failing_pass_and_what_was_left(tmp_path: Path) -> None:
    failed(tmp_path / "r", Pipeline(SortTopologically(), Spoil(), DeadCode()))
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["error.txt", "program.mlpackage", "recipe.yaml"]
    assert load_recipe(tmp_path / "r/recipe.yaml") == Pipeline(Spoil(), DeadCode())
    assert len(list(load_program(tmp_path / "r/program.mlpackage").ops("relu"))) == 2
    assert (tmp_path / "r/error.txt").read_text() == "pass spoil (after sort-topologically) failed: ValueError: spoilt\n"


def test_it_fails_again(tmp_path: Path) -> None:
    failed(tmp_path / "r", Pipeline(SortTopologically(), Spoil()))
    with pytest.raises(PassError, match="pass spoil failed: ValueError: spoilt"):
        run(load_program(tmp_path / "r/program.mlpackage"), load_recipe(tmp_path / "r/recipe.yaml"))


def test_error_says_how_to_see_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    notes = failed(folder, Spoil()).__notes__
    assert notes[-1] == f"to see it again: mlpasses run {folder}/program.mlpackage {folder}/recipe.yaml -o OUT"


def test_run_that_works_writes_nothing(tmp_path: Path) -> None:
    run(parse_fragment(TEXT), DeadCode(), instruments=[Reproducer(tmp_path / "r")])
    assert list(tmp_path.iterdir()) == []


def test_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(ConfigError, match="is no empty folder"):
        Reproducer(tmp_path)


def test_what_cannot_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PassError, match="spoilt") as raised:
        run(parse_fragment(TEXT), Spoil(), instruments=[Reproducer(tmp_path / "file/inside")])
    assert raised.value.__notes__[-1].startswith("no reproducer was written: ")


def test_pass_that_no_recipe_can_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry.BUILT_IN, "spoil")
    assert failed(tmp_path / "r", Spoil()).__notes__[-1].startswith("no reproducer was written: Spoil cannot stand in a recipe")
    assert list(tmp_path.iterdir()) == []


# what is left


def left(pipeline: Pass) -> Pipeline:
    """What the failing pass of a pipeline leaves to run."""
    found: list[Pipeline] = []

    class Note(Reproducer):
        def failed(self, each: Pass, program: Program, context: Context, error: Exception) -> None:
            found.append(remaining(each, context.around))

    with pytest.raises(PassError):
        run(parse_fragment(TEXT), pipeline, instruments=[Note(Path("never"))])
    return found[0]


def test_a_pass_alone_leaves_itself() -> None:
    assert left(Spoil()) == Pipeline(Spoil())


def test_nested_pipelines_leave_what_follows_in_each() -> None:
    dead, sort = DeadCode(), SortTopologically()
    assert left(Pipeline(sort, Pipeline(sort, Spoil(), dead), sort)) == Pipeline(Spoil(), dead, sort)


def test_a_repetition_leaves_its_other_rounds() -> None:
    assert left(Pipeline(Repeat(Pipeline(SortTopologically(), Spoil()), 3), DeadCode())) == Pipeline(
        Spoil(), Repeat(Pipeline(SortTopologically(), Spoil()), 2), DeadCode()
    )
    assert left(Repeat(Spoil(), 1)) == Pipeline(Spoil())


def test_rounds_that_are_over_do_not_count() -> None:
    frames = [Frame(Repeat(DeadCode(), 5), 3)]
    assert remaining(DeadCode(), frames) == Pipeline(DeadCode(), Repeat(DeadCode(), 2))


def test_passes_that_ran_through_are_not_left() -> None:
    assert left(Pipeline(Pipeline(DeadCode()), Repeat(SortTopologically()), Spoil())) == Pipeline(Spoil())
