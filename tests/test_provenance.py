"""The recipe in a model's metadata, and running it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import frozen

from ir.core import Program
from mlpasses.cleanup.dce import DeadCode
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.compress.quantize import QuantizeWeights
from mlpasses.config import Quantize
from mlpasses.context import Context
from mlpasses.errors import ConfigError
from mlpasses.manager import run
from mlpasses.passes import ProgramPass
from mlpasses.pipeline import Pipeline
from mlpasses.provenance import PREFIX, record, records, versions
from mlpasses.recipe import dump_recipe, load_recipe
from mlpasses.replay import differences, record_of, recorded_pipeline, replay
from mlpasses.rules import Rules
from mlpasses.select import name
from tests.select.models import decoder
from tests.test_registry import install

PIPELINE = Pipeline(QuantizeWeights(Rules((name("lm_head"), None), default=Quantize(min_elements=0))), DeadCode())


def test_recipe_comes_back_from_the_saved_model(tmp_path: Path) -> None:
    from ir.mil.load import load_program

    saved = load_program(run(decoder(), PIPELINE).record().save(tmp_path / "out.mlpackage"))
    (found,) = records(saved)
    assert load_recipe(found.recipe) == PIPELINE
    assert found.is_intact
    assert found.versions == versions(PIPELINE)


def test_nothing_is_recorded_unasked() -> None:
    assert records(run(decoder(), PIPELINE).program) == []


def test_program_handed_in_gets_no_record() -> None:
    program = decoder()
    run(program, PIPELINE).record()
    assert program.metadata == {}


def test_two_runs_record_the_same() -> None:
    assert run(decoder(), PIPELINE).record().program.metadata == run(decoder(), PIPELINE).record().program.metadata


def test_other_metadata_stays() -> None:
    program = decoder()
    program.metadata = {"author": "me"}
    record(program, PIPELINE)
    assert program.metadata["author"] == "me"
    assert sorted(key for key in program.metadata if key.startswith(PREFIX)) == [
        "com.mlpasses.recipe", "com.mlpasses.recipe.sha256", "com.mlpasses.versions",
    ]  # fmt: skip


def test_earlier_records_are_kept_the_last_first() -> None:
    program = decoder()
    for each in (DeadCode(), QuantizeWeights(), DecompressWeights()):
        record(program, each)
    assert [found.recipe for found in records(program)] == [
        dump_recipe(each) for each in (DecompressWeights(), QuantizeWeights(), DeadCode())
    ]  # fmt: skip
    assert all(found.is_intact for found in records(program))


@frozen
class Local(ProgramPass):
    """Is in no package."""

    def run(self, program: Program, cx: Context) -> int:
        return 0


def test_pipeline_that_no_recipe_can_state_is_not_recorded() -> None:
    result = run(decoder(), Local())
    with pytest.raises(ConfigError, match="Local cannot stand in a recipe"):
        result.record()
    assert result.program.metadata == {}


def test_versions_name_the_packages_of_foreign_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.passes_for_tests import NoOptions

    install(tmp_path, monkeypatch, "somebodys", "no-options = tests.passes_for_tests:NoOptions")
    assert versions(Pipeline(DeadCode(), NoOptions())).endswith(", somebodys 1.0")


# again


def saved(folder: Path, pipeline: Pipeline = PIPELINE) -> Path:
    return run(decoder(), pipeline).record().save(folder / "out.mlpackage")


def replayed(path: Path, source: Program) -> list[str]:
    from ir.mil.load import load_program

    model = load_program(path)
    return replay(model, path, source, recorded_pipeline(record_of(model, path), path))


def test_same_source_becomes_the_same_bytes(tmp_path: Path) -> None:
    assert replayed(saved(tmp_path), decoder()) == []


def test_another_source_differs_and_the_files_are_named(tmp_path: Path) -> None:
    found = replayed(saved(tmp_path), decoder(3))
    assert found[0].startswith("Data/com.apple.CoreML/model.mlmodel differs from byte ")


def test_edited_recipe_is_not_replayed(tmp_path: Path) -> None:
    program = run(decoder(), PIPELINE).record().program
    program.metadata["com.mlpasses.recipe"] += "  - cleanup\n"
    with pytest.raises(ConfigError, match=r"does not have the hash .* that was recorded with it: it was edited"):
        recorded_pipeline(record_of(program, tmp_path), tmp_path)


def test_model_without_a_recipe_says_what_writes_one() -> None:
    with pytest.raises(ConfigError, match="m holds no recipe: mlpasses run writes it"):
        record_of(decoder(), Path("m"))


def test_differences_name_files_that_come_and_go(tmp_path: Path) -> None:
    for folder, files in {"a": {"same": "x", "gone": "", "longer": "xy"}, "b": {"same": "x", "new": "", "longer": "xyz"}}.items():
        (tmp_path / folder).mkdir()
        for each, text in files.items():
            (tmp_path / folder / each).write_text(text)
    assert differences(tmp_path / "a", tmp_path / "b") == [
        "gone is missing now", "longer differs from byte 2 on (2 bytes before, 3 now)", "new is new",
    ]  # fmt: skip
