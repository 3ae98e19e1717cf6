"""What differs between two programs, as data and as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from ir.const import Const
from ir.core import Block, Op, Program, Value
from ir.mil import schema
from ir.mil.load import load_program
from ir.text import parse_fragment
from ir.types import FP16, TensorType
from mlpasses.compress.decompress import DecompressWeights
from mlpasses.diff import FunctionDiff, ProgramDiff, diff
from mlpasses.manager import run
from tests.corpus import REAL, Corpus


def fragment(text: str, opset: str = "CoreML8") -> Program:
    return parse_fragment(dedent(text), opset=opset)


def dense(*values: float, name: str = "w") -> Program:
    """A linear with a weight of one row."""
    listed = ", ".join(map(str, values))
    return fragment(
        f"""
        inputs %x: fp16[1, {len(values)}]
        %{name}: fp16[1, {len(values)}] = const([[{listed}]])
        %y: fp16[1, 1] = linear(x=%x, weight=%{name})
        return %y
        """
    )


def quantized(name: str = "w") -> Program:
    """The same with int8: 1, 2, 3 and a scale of 1."""
    return fragment(
        f"""
        inputs %x: fp16[1, 3]
        %{name}: fp16[1, 3] = constexpr_blockwise_shift_scale(data=int8[1, 3]([[1, 2, 3]]), scale=fp16[1, 1]([[1.0]]))
        %y: fp16[1, 1] = linear(x=%x, weight=%{name})
        return %y
        """
    )


def main_of(found: ProgramDiff) -> FunctionDiff:
    (function,) = found.functions
    return function


def text_of(found: ProgramDiff) -> str:
    assert found
    json.dumps(found.as_dict(), allow_nan=False)
    return str(found)


class TestSame:
    def test_a_clone_does_not_differ(self) -> None:
        program = dense(1, 2, 3)
        found = diff(program, program.clone())
        assert not found
        assert str(found) == "no differences"
        assert found.as_dict()["same"] is True

    @pytest.mark.parametrize("name", REAL)
    def test_a_real_package_does_not_differ_from_itself(self, corpus: Corpus, name: str) -> None:
        assert not diff(load_program(corpus.path(name)), load_program(corpus.path(name)))

    def test_equal_values_in_other_tensors_are_equal(self) -> None:
        assert not diff(dense(1, 2, 3), dense(1, 2, 3))


class TestWeights:
    def test_another_form_is_scheme_and_bytes(self) -> None:
        found = diff(dense(1, 2, 3), quantized())
        (change,) = main_of(found).weights
        assert change.before is not None
        assert change.after is not None
        assert (change.name, change.before.scheme, change.after.scheme) == ("w", "dense fp16", "int8 per-tensor")
        assert (change.before.nbytes, change.after.nbytes) == (6, 5)
        assert "    w: dense fp16 → int8 per-tensor, 6 B → 5 B" in text_of(found)

    def test_other_values_in_the_same_form_are_told(self) -> None:
        found = diff(dense(1, 2, 3), dense(1, 2, 4))
        assert main_of(found).weights[0].other_values
        assert "w: other values, dense fp16, 6 B" in text_of(found)

    def test_another_shape_is_told(self) -> None:
        assert "w: fp16[1, 3] → fp16[1, 2], 6 B → 4 B" in text_of(diff(dense(1, 2, 3), dense(1, 2)))

    def test_a_weight_that_the_same_op_uses_by_another_name_is_renamed(self) -> None:
        found = diff(dense(1, 2, 3), quantized("w_quantized"))
        (change,) = main_of(found).weights
        assert (change.name, change.renamed) == ("w", "w_quantized")
        assert "w → w_quantized: dense fp16 → int8 per-tensor, 6 B → 5 B" in text_of(found)

    def test_a_name_alone_is_a_difference(self) -> None:
        assert "w → v: the same values, dense fp16, 6 B" in text_of(diff(dense(1, 2, 3), dense(1, 2, 3, name="v")))

    def test_added_and_removed_weights_are_told(self) -> None:
        without = fragment("inputs %x: fp16[1, 3]\n%y: fp16[1, 3] = relu(x=%x)\nreturn %y")
        assert "w: added, dense fp16, fp16[1, 3], 6 B" in text_of(diff(without, dense(1, 2, 3)))
        assert "w: removed, dense fp16, fp16[1, 3], 6 B" in text_of(diff(dense(1, 2, 3), without))

    def test_weights_in_nested_blocks_are_told_with_their_place(self) -> None:
        first, second = nested(1.0), nested(2.0)
        assert "main/c[0]: w: other values" in text_of(diff(first, second))

    def test_long_lists_are_cut_in_text_and_whole_in_data(self) -> None:
        found = diff(many(0.0), many(1.0))
        assert "… and 10 more" in text_of(found)
        assert len(found.as_dict()["functions"][0]["weights"]) == 70


def nested(value: float) -> Program:
    program = fragment("inputs %x: fp16[1, 1], %p: bool\n%a: fp16[1, 1] = relu(x=%x)\nreturn %a")
    x, p = program.main.inputs
    block, other = Block(), Block()
    const = Op("const", {}, [("w", TensorType(FP16, (1, 1)))], {"val": Const.of([[value]], FP16)})
    linear = Op("linear", {"x": x, "weight": const.output}, [("l", TensorType(FP16, (1, 1)))])
    block.append(const)
    block.append(linear)
    block.set_outputs([linear.output])
    other.set_outputs([x])
    program.main.body.append(Op("cond", {"pred": p}, [("c", TensorType(FP16, (1, 1)))], blocks=[block, other]))
    return program


def many(value: float) -> Program:
    program = fragment("inputs %x: fp16[1, 1]\n%a: fp16[1, 1] = relu(x=%x)\nreturn %a")
    last: Value = program.main.body.outputs[0]
    for index in range(70):
        weight = Const.of(np.full((1, 1), value, np.float16))
        op = Op("linear", {"x": last, "weight": weight}, [(f"l{index}", TensorType(FP16, (1, 1)))])
        program.main.body.append(op)
        last = op.output
    program.main.body.set_outputs([last])
    return program


class TestGraph:
    def test_ops_are_counted_by_type_where_that_differs(self) -> None:
        found = diff(dense(1, 2, 3), quantized())
        assert main_of(found).ops == {"const": (1, 0), "constexpr_blockwise_shift_scale": (0, 1)}
        assert "  ops: const 1 → 0, constexpr_blockwise_shift_scale 0 → 1" in text_of(found)

    def test_inputs_and_outputs_are_told_with_their_types(self) -> None:
        first = fragment("inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)\nreturn %y")
        second = fragment("inputs %x: fp32[4], %z: fp16[1]\n%o: fp32[4] = relu(x=%x)\nreturn %o")
        text = text_of(diff(first, second))
        assert "  input x: fp16[4] → fp32[4]" in text
        assert "  input z: added, fp16[1]" in text
        assert "  output y: removed, was fp16[4]" in text
        assert "  output o: added, fp32[4]" in text

    def test_another_order_of_inputs_is_told(self) -> None:
        first = fragment("inputs %x: fp16[4], %z: fp16[4]\n%y: fp16[4] = add(x=%x, y=%z)\nreturn %y")
        second = fragment("inputs %z: fp16[4], %x: fp16[4]\n%y: fp16[4] = add(x=%x, y=%z)\nreturn %y")
        assert "  order of inputs: x, z → z, x" in text_of(diff(first, second))

    def test_the_opset_is_told(self) -> None:
        body = "inputs %x: fp16[4]\n%y: fp16[4] = relu(x=%x)\nreturn %y"
        assert "  opset: CoreML7 → CoreML8" in text_of(diff(fragment(body, "CoreML7"), fragment(body, "CoreML8")))

    def test_other_specializations_are_told(self) -> None:
        first = dense(1, 2, 3)
        second = first.clone()
        second.main.add_block("CoreML9", second.main.body.clone())
        text = text_of(diff(first, second))
        assert "other specializations: added, CoreML9" in text
        assert "main<CoreML9>: w: added" in text

    def test_functions_that_come_and_go_are_told(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        second.add_function(second.main.clone("extra"))
        assert "extra: added" in text_of(diff(first, second))
        assert "extra: removed" in text_of(diff(second, first))

    def test_other_wiring_of_the_same_ops_is_a_difference(self) -> None:
        first = fragment("inputs %x: fp16[4]\n%a: fp16[4] = exp(x=%x)\n%y: fp16[4] = sub(x=%a, y=%x)\nreturn %y")
        second = fragment("inputs %x: fp16[4]\n%a: fp16[4] = exp(x=%x)\n%y: fp16[4] = sub(x=%x, y=%a)\nreturn %y")
        found = diff(first, second)
        assert not found.functions
        assert text_of(found).startswith("first difference: main/")


    def test_metadata_that_differs_hides_no_difference_in_structure(self) -> None:
        first, second = (fragment(f"inputs %x: fp16[4]\n%y: fp16[4] = {body}\nreturn %y") for body in ("sub(x=%x, y=1)", "sub(x=%x, y=2)"))
        second.metadata["k"] = "v"
        title, change, structure = text_of(diff(first, second)).splitlines()
        assert (title, change) == ("metadata", "  k: added, v")
        assert structure.startswith("first difference: main/")

    def test_metadata_alone_is_told_once(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        second.metadata["k"] = "v"
        found = diff(first, second)
        assert found
        assert found.first is None
        assert text_of(found) == "metadata\n  k: added, v"


class TestProgram:
    def test_metadata_is_told_key_by_key(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        first.metadata |= {"a": "1", "b": "2"}
        second.metadata |= {"b": "3", "c": "4"}
        assert text_of(diff(first, second)).splitlines()[:4] == ["metadata", "  a: removed, was 1", "  b: 2 → 3", "  c: added, 4"]

    def test_the_specification_version_is_told(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        second.spec_version += 1
        assert f"spec_version: {first.spec_version} → {second.spec_version}" in text_of(diff(first, second))

    def test_attributes_of_the_program_are_told(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        second.attributes["build"] = Const.of("here")
        assert 'build: added, "here"' in text_of(diff(first, second))

    def test_stages_of_a_pipeline_are_told_apart(self) -> None:
        first, second = Program(), Program()
        for program, value in ((first, 1), (second, 2)):
            program.stages[(0,)] = dense(5)
            program.stages[(1,)] = dense(value)
        found = diff(first, second)
        assert main_of(found).name == "stage 1: main"

    def test_names_cannot_steer_a_terminal(self) -> None:
        first, second = dense(1, 2, 3), dense(1, 2, 3)
        second.metadata["k"] = "\x1b[2J"
        assert "\x1b" not in text_of(diff(first, second))


class Described:
    """Packages of one program each, with the descriptions that a test writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, make: Callable[[Any], None], *functions: str, program: Program | None = None) -> Program:
        """A package whose model `make` has changed: a relu of `x`, or functions of it."""
        path = self._folder / f"{len(list(self._folder.iterdir()))}.mlpackage"
        made = program or relu()
        for name in functions:
            made.add_function(made.main.clone(name))
        made.save(path)
        file = path / "Data/com.apple.CoreML/model.mlmodel"
        model = schema.new_model()
        model.ParseFromString(file.read_bytes())
        make(model)
        file.write_bytes(model.SerializeToString(deterministic=True))
        return load_program(path)


@pytest.fixture
def described(tmp_path: Path) -> Described:
    return Described(tmp_path)


def relu(shape: str = "[1, 64]") -> Program:
    program = fragment(f"inputs %x: fp32{shape}\n%y: fp32{shape} = relu(x=%x)\nreturn %y")
    program.spec_version = 9
    return program


def unchanged(model: Any) -> None:
    """The description as it is written for a program that was built."""


def image(model: Any) -> None:
    kind = model.description.input[0].type.imageType
    kind.width, kind.height, kind.colorSpace = 8, 8, 20


def ranged_to(upper: int) -> Callable[[Any], None]:
    def make(model: Any) -> None:
        model.description.input[0].type.multiArrayType.shapeRange.sizeRanges[0].upperBound = upper

    return make


def unknown_field(model: Any) -> None:
    model.description.input[0].type.MergeFromString(b"\xa0\x38\x01")


class TestDescription:
    def test_the_same_description_does_not_differ(self, described: Described) -> None:
        assert not diff(described(image), described(image))

    def test_who_made_it_is_told(self, described: Described) -> None:
        def ada(model: Any) -> None:
            model.description.metadata.author = "Ada"

        def eve(model: Any) -> None:
            model.description.metadata.author = "Eve"
            model.description.metadata.license = "MIT"

        found = diff(described(ada), described(eve))
        assert text_of(found).splitlines() == ["about", "  author: Ada → Eve", "  license: added, MIT"]
        assert found.as_dict()["about"][0] == {"name": "author", "before": "Ada", "after": "Eve"}

    def test_a_feature_that_is_something_else_is_told(self, described: Described) -> None:
        found = diff(described(unchanged), described(image))
        assert text_of(found).splitlines() == ["interface", "  input x: fp32[1, 64] → image RGB 8 × 8"]
        assert found.as_dict()["interface"] == [{"name": "input x", "before": "fp32[1, 64]", "after": "image RGB 8 × 8"}]

    def test_other_sizes_of_a_flexible_input_are_told(self, described: Described) -> None:
        found = diff(described(unchanged, program=relu("[?, 64]")), described(ranged_to(1024), program=relu("[?, 64]")))
        text = "input x: fp32[?, 64], 1… × 64, default 1 × 64 → fp32[?, 64], 1…1024 × 64, default 1 × 64"
        assert text_of(found).splitlines() == ["interface", f"  {text}"]

    def test_what_the_function_says_too_is_told_once(self, described: Described) -> None:
        found = diff(described(unchanged), described(unchanged, program=relu("[1, 32]")))
        assert text_of(found).count("input x: fp32[1, 64] → fp32[1, 32]") == 1
        assert not found.interface

    def test_predicted_features_are_told(self, described: Described) -> None:
        def classifier(model: Any) -> None:
            model.description.predictedFeatureName = "y"

        assert "  predicted feature: added, y" in text_of(diff(described(unchanged), described(classifier)))

    def test_features_of_functions_are_told_with_the_function(self, described: Described) -> None:
        def optional(model: Any) -> None:
            model.description.functions[1].input[0].type.isOptional = True

        found = diff(described(unchanged, "other"), described(optional, "other"))
        assert text_of(found).splitlines() == ["interface", "  other: input x: fp32[1, 64] → fp32[1, 64], optional"]

    def test_another_default_function_is_told(self, described: Described) -> None:
        def other(model: Any) -> None:
            model.description.defaultFunctionName = "other"

        found = diff(described(unchanged, "other"), described(other, "other"))
        assert text_of(found).splitlines() == ["interface", "  default function: main → other"]

    def test_features_of_functions_that_come_and_go_are_not_gone_into(self, described: Described) -> None:
        found = diff(described(unchanged), described(unchanged, "other"))
        assert [change.name for change in found.interface] == ["default function"]
        assert not found.otherwise

    def test_what_has_no_words_is_a_difference(self, described: Described) -> None:
        found = diff(described(unchanged), described(unknown_field))
        assert text_of(found) == "the description differs otherwise"
        assert found.as_dict()["otherwise"] == ["the description differs otherwise"]
        assert found.as_dict()["same"] is False

    def test_a_function_that_is_described_elsewhere_in_the_same_words_is_a_difference(self, described: Described) -> None:
        def by_name(model: Any) -> None:
            function = model.description.functions.add()
            function.name = "main"
            function.input.extend(model.description.input)
            function.output.extend(model.description.output)
            model.description.ClearField("input")
            model.description.ClearField("output")

        assert text_of(diff(described(unchanged), described(by_name))) == "the description differs otherwise"

    def test_what_lies_beside_program_and_description_is_a_difference(self, described: Described) -> None:
        def updatable(model: Any) -> None:
            model.isUpdatable = True

        assert text_of(diff(described(unchanged), described(updatable))) == "the model differs beside its program and description"

    def test_models_in_a_pipeline_are_told_apart(self, described: Described) -> None:
        def piped(change: Callable[[Any], None], *more: str) -> Callable[[Any], None]:
            def make(model: Any) -> None:
                stage = schema.new_model()
                stage.CopyFrom(model)
                change(stage)
                model.Clear()
                model.specificationVersion = 9
                model.pipeline.models.add().CopyFrom(stage)
                for name in more:
                    model.pipeline.models.add().neuralNetwork.layers.add().name = name

            return make

        def text(*more: str) -> str:
            return text_of(diff(described(piped(unchanged, "a")), described(piped(image, *more))))

        words = "  stage 0: input x: fp32[1, 64] → image RGB 8 × 8"
        assert text("a").splitlines() == ["interface", words]
        assert text().splitlines() == ["interface", "  stage 1: removed, was a model", words]
        assert text("b").splitlines() == ["interface", words, "stage 1: the model differs beside its program and description"]

    def test_a_built_program_says_nothing_of_itself(self, described: Described) -> None:
        def ada(model: Any) -> None:
            image(model)
            model.description.metadata.author = "Ada"

        assert text_of(diff(described(ada), relu())).splitlines() == ["about", "  author: removed, was Ada"]

    def test_words_of_a_description_cannot_steer_a_terminal(self, described: Described) -> None:
        def red(model: Any) -> None:
            model.description.metadata.author = model.description.input[0].shortDescription = "\x1b[31m"

        assert "\x1b" not in text_of(diff(described(unchanged), described(red)))


def test_decompressing_changes_forms_and_no_values(corpus: Corpus) -> None:
    program = load_program(corpus.path("silero_vad_unified_pruned_int8"))
    found = diff(program, run(program, DecompressWeights()).program)
    changed = main_of(found).weights
    assert len(changed) == 7
    assert {change.before.scheme.split()[0] for change in changed if change.before is not None} == {"int8", "sparse"}
    assert all(change.after is not None and change.after.scheme.startswith("dense") for change in changed)
    assert not main_of(found).interface


