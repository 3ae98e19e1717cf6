"""`mlpasses inspect`"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir.builder import FunctionBuilder, build_program
from ir.mil.schema import new_model
from ir.opset import IOS16, IOS18
from ir.text import parse
from ir.types import FP16, FP32, UNKNOWN, StateType, TensorType
from mlpasses import load
from tests.cli.conftest import Run

CORPUS = Path(__file__).parents[2] / "../shared/corpus"


def test_inspect(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "model.mlpackage").text)


def test_inspect_compressed(run: Run, recipe: Path, golden: Callable[[str], None]) -> None:
    run("run", "model.mlpackage", recipe, "-o", "out.mlpackage", "--no-record")
    golden(run("inspect", "out.mlpackage").text)


def test_inspect_ops(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "model.mlpackage", "--ops").text)


def test_inspect_weights(run: Run, folder: Path, golden: Callable[[str], None]) -> None:
    golden(run("inspect", "model.mlpackage", "--weights").text)


def test_inspect_json_has_the_interface(run: Run, folder: Path) -> None:
    data = json.loads(run("inspect", "model.mlpackage", "--json").out)
    (function,) = data["functions"]
    assert (function["name"], function["opset"], function["target"]) == ("main", "CoreML6", "iOS16")
    assert function["inputs"] == [{"name": "log_mel", "type": "fp32[1, 1, 98, 40]", "text": "fp32[1, 1, 98, 40]"}]
    assert function["outputs"] == [{"name": "probabilities", "type": "fp32[1, 35]", "text": "fp32[1, 35]"}]
    assert data["metadata"]["words"].startswith("backward,bed,")


def test_a_weight_that_functions_share_counts_once(run: Run, folder: Path) -> None:
    program = load("model.mlpackage")
    program.spec_version = 9
    program.add_function(program.main.clone("other"))
    for function in program.functions.values():
        function.set_opset("CoreML8")
    program.document = None
    program.save("two.mlpackage")
    one, two = (json.loads(run("inspect", name, "--json").out)["weights"] for name in ("model.mlpackage", "two.mlpackage"))
    assert one == two


def test_match_chooses_weights_by_name_or_consumer(run: Run, folder: Path) -> None:
    def names(pattern: str) -> list[str]:
        data = json.loads(run("inspect", "model.mlpackage", "--weights", "--json", "--match", pattern).out)
        return [row["name"] for row in data["weights"]]

    assert names("*_0_point*") == ["blocks_0_pointwise_weight"]
    assert names("linear") == ["classifier_weight"]
    assert names("nothing") == []


def test_match_chooses_ops_by_name_or_type(run: Run, folder: Path) -> None:
    assert run("inspect", "model.mlpackage", "--ops", "--match", "softmax").out == "softmax  softmax: fp16[1, 35]\n"
    assert run("inspect", "model.mlpackage", "--ops", "--match", "l?gits").out == "linear  logits: fp16[1, 35]\n"


@pytest.mark.parametrize(
    ("view", "pattern", "said"),
    [
        ("--weights", "point", "no weight has a name or an op type that matches 'point'; did you mean '*point*'?"),
        ("--ops", "cnv", "no op has a name or an op type that matches 'cnv'; did you mean 'conv'?"),
        ("--text", "cnv", "no op has a name or an op type that matches 'cnv'; did you mean 'conv'?"),
        ("--ops", "[0]", "no op has a name or an op type that matches '[0]'; did you mean '*[0]*'?"),
        ("--ops", "!!!", "no op has a name or an op type that matches '!!!'"),
    ],
)
def test_a_match_that_finds_nothing_is_said_with_the_nearest(view: str, pattern: str, said: str, run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", view, "--match", pattern)
    assert (ran.code, ran.out, ran.err) == (0, "", f"warning: {said}\n")
    data = json.loads(run("inspect", "model.mlpackage", view, "--match", pattern, "--json").out)
    assert data == {view.removeprefix("--"): "" if view == "--text" else []}


def test_two_views_at_once_are_refused(run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", "--weights", "--ops")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: --ops and --weights are different views: give one of them\n")


def test_many_forms_of_weights_are_summed_up_behind_the_largest(run: Run, folder: Path) -> None:
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 64))}, IOS16) as f:
        for index in range(8):
            weight = np.arange(1, 64 * 64 + 1, dtype=np.float32).reshape(64, 64).astype(np.float16)
            weight[: 8 + index] = 0
            f.outputs(**{f"y_{index}": f.op("linear", x=f.inputs["x"], weight=f.const(weight, name=f"w_{index}"))})
    build_program(f).save("dense.mlpackage")
    assert run("prune", "dense.mlpackage", "--threshold", "0", "-o", "sparse.mlpackage").code == 0
    (line,) = [line for line in run("inspect", "sparse.mlpackage").out.splitlines() if line.startswith("weights")]
    assert line.startswith("weights     8, 57.9 KB: 1 sparse 12.5% (7.68 KB); 1 sparse 14.1% (7.55 KB); ")
    assert line.endswith("; 1 sparse 20.3% (7.04 KB); 2 in 2 other forms (13.7 KB)")
    assert len(json.loads(run("inspect", "sparse.mlpackage", "--json").out)["weights"]["schemes"]) == 8


def test_match_alone_is_refused(run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", "--match", "x")
    assert ran.code == 2
    assert ran.err.startswith("error: --match chooses among ops or weights: give --ops, --weights or --text\n")


def test_text_is_what_the_parser_reads(run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", "--text")
    assert ran.out == str(load("model.mlpackage")).rstrip("\n") + "\n"
    program = build_program(FunctionBuilder("main", {"x": TensorType(FP16, (1,))}, IOS18))
    assert str(parse(str(program))) == str(program)


def test_text_of_one_op(run: Run, folder: Path) -> None:
    ran = run("inspect", "model.mlpackage", "--text", "--match", "softmax")
    assert ran.out == "%softmax: fp16[1, 35] = softmax(x=%logits, axis=%softmax_axis)\n"


def test_text_json(run: Run, folder: Path) -> None:
    assert json.loads(run("inspect", "model.mlpackage", "--text", "--json").out)["text"].startswith("program")


def test_states_are_listed_apart_from_inputs(run: Run, folder: Path) -> None:
    state = StateType(TensorType(FP16, (1, 8)))
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 8)), "cache": state}, IOS18) as f:
        f.outputs(y=f.op("add", x=f.inputs["x"], y=f.op("read_state", input=f.inputs["cache"])))
    build_program(f).save("stateful.mlpackage")
    (function,) = json.loads(run("inspect", "stateful.mlpackage", "--json").out)["functions"]
    assert function["states"] == [{"name": "cache", "type": "state<fp16[1, 8]>", "text": "state<fp16[1, 8]>"}]
    assert [value["name"] for value in function["inputs"]] == ["x"]


@pytest.fixture
def described(folder: Path) -> str:
    """The example as an image classifier that somebody wrote: nonsense, and well-formed."""
    load("model.mlpackage").save("described.mlpackage")
    file = Path("described.mlpackage/Data/com.apple.CoreML/model.mlmodel")
    model = new_model()
    model.ParseFromString(file.read_bytes())
    model.description.metadata.author = "Ada\x1b[31m"
    image = model.description.input[0].type.imageType
    image.width, image.height, image.colorSpace = 40, 98, 10
    model.description.output[0].shortDescription = "how likely each word is " * 20
    model.description.predictedFeatureName = "word"
    file.write_bytes(model.SerializeToString(deterministic=True))
    return "described.mlpackage"


def test_what_the_description_adds_is_shown(run: Run, described: str) -> None:
    lines = run("inspect", described).out.splitlines()
    assert "  inputs    log_mel: fp32[1, 1, 98, 40], image GRAYSCALE 40 × 98" in lines
    assert "  predicts  word" in lines
    assert "about       author: Ada\\x1b[31m" in lines


def test_long_words_on_a_feature_are_cut_in_text_and_whole_in_data(run: Run, described: str) -> None:
    (line,) = (line for line in run("inspect", described).out.splitlines() if "probabilities: " in line)
    assert len(line) < 240
    assert line.endswith("…")
    (function,) = json.loads(run("inspect", described, "--json").out)["functions"]
    assert function["outputs"][0]["text"].count("how likely") == 20


def test_json_has_the_description(run: Run, described: str) -> None:
    data = json.loads(run("inspect", described, "--json").out)
    assert data["about"] == {"author": "Ada\x1b[31m"}
    assert data["functions"][0]["predicted_feature"] == "word"
    assert data["functions"][0]["inputs"][0]["text"] == "fp32[1, 1, 98, 40], image GRAYSCALE 40 × 98"
    assert data["functions"][0]["inputs"][0]["type"] == "fp32[1, 1, 98, 40]"


def test_sizes_of_a_flexible_input_are_shown(run: Run, folder: Path) -> None:
    with FunctionBuilder("main", {"x": TensorType(FP32, (UNKNOWN, 64))}, IOS18) as f:
        f.outputs(y=f.op("relu", x=f.inputs["x"]))
    build_program(f).save("flexible.mlpackage")
    assert "  inputs    x: fp32[?, 64], 1… × 64, default 1 × 64\n" in run("inspect", "flexible.mlpackage").out


def test_the_default_function_is_shown(run: Run, folder: Path) -> None:
    program = load("model.mlpackage")
    program.spec_version = 9
    program.add_function(program.main.clone("other"))
    program.document = None
    program.save("two.mlpackage")
    assert "default function main\n" in run("inspect", "two.mlpackage").out
    assert json.loads(run("inspect", "two.mlpackage", "--json").out)["default_function"] == "main"


def test_the_interface_of_a_pipeline_is_shown_with_its_stages(run: Run, described: str) -> None:
    file = Path(described) / "Data/com.apple.CoreML/model.mlmodel"
    stage: Any = new_model()
    stage.ParseFromString(file.read_bytes())
    model: Any = new_model()
    model.specificationVersion = stage.specificationVersion
    model.description.CopyFrom(stage.description)
    model.pipeline.models.add().CopyFrom(stage)
    file.write_bytes(model.SerializeToString(deterministic=True))
    out = run("inspect", described).out
    assert "\n  inputs    log_mel: image GRAYSCALE 40 × 98\n" in out
    assert "\nstage 0\n" in out
    assert "\n    inputs    log_mel: fp32[1, 1, 98, 40], image GRAYSCALE 40 × 98\n" in out
    data = json.loads(run("inspect", described, "--json").out)
    assert data["interface"]["inputs"] == [{"name": "log_mel", "type": "image GRAYSCALE 40 × 98", "text": "image GRAYSCALE 40 × 98"}]
    assert data["stages"]["0"]["about"] == data["about"] == {"author": "Ada\x1b[31m"}


def test_metadata_cannot_steer_the_terminal(run: Run, folder: Path) -> None:
    program = load("model.mlpackage")
    program.metadata["note"] = "\x1b[31mred\nnew line"
    program.save("odd.mlpackage")
    assert "note: \\x1b[31mred\\nnew line" in run("inspect", "odd.mlpackage").out


@pytest.mark.parametrize("name", ["nothing.mlpackage", "empty"])
def test_what_is_no_package_is_bad_input(name: str, run: Run, folder: Path) -> None:
    (folder / "empty").mkdir()
    ran = run("inspect", name)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {name} ")


def test_a_model_that_is_no_ml_program_is_unsupported(run: Run, folder: Path) -> None:
    model = new_model()
    model.specificationVersion = 4
    model.neuralNetwork.SetInParent()  # type: ignore[attr-defined]  # the protocol has what lift and lower touch
    Path("old.mlmodel").write_bytes(model.SerializeToString())
    ran = run("inspect", "old.mlmodel")
    assert (ran.code, ran.out) == (3, "")
    assert "neuralNetwork" in ran.err


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("name", [path.name for path in sorted(CORPUS.glob("*.mlpackage"))])
@pytest.mark.parametrize("view", ["", "--ops", "--weights", "--text"])
def test_every_view_of_every_corpus_package_prints(name: str, view: str, run: Run) -> None:
    ran = run("inspect", CORPUS / name, "--json", *view.split())
    assert ran.code == 0
    assert json.loads(ran.out)
