"""The model that ships, and the script that builds it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import mlpasses as mp

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "docs/examples/quantize.yaml"


def build() -> mp.Program:
    spec = importlib.util.spec_from_file_location("build_model", ROOT / "docs/examples/build_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    program: mp.Program = module.keyword_spotter()
    return program


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_script_builds_the_shipped_bytes(example: Path, tmp_path: Path) -> None:
    assert files(build().save(tmp_path / "built.mlpackage")) == files(example)


def test_the_example_has_the_size_of_an_example(example: Path) -> None:
    assert 100_000 < sum(map(len, files(example).values())) < 500_000


def test_the_recipe_is_the_readmes_pipeline() -> None:
    assert mp.load_recipe(RECIPE) == mp.Pipeline(mp.RaiseOpset("iOS18"), mp.QuantizeWeights(), mp.DeadCode())


@pytest.mark.parametrize("quantized", [False, True], ids=["as shipped", "quantized"])
def test_coremltools_accepts_the_example(quantized: bool, example: Path, tmp_path: Path) -> None:
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    path = example
    if quantized:
        path = mp.run(mp.load(example), mp.load_recipe(RECIPE)).save(tmp_path / "w8.mlpackage")
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir).validate()
