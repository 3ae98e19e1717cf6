"""What a model says of itself, as plain data: messages made by hand, read back in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ir.builder import FunctionBuilder, build_program
from ir.mil import schema
from ir.mil.description import ABOUT, Description, Feature, read_description
from ir.mil.load import load_program
from ir.opset import IOS18
from ir.types import FP16, StateType, TensorType
from tests.corpus import NAMES, Corpus
from tests.mil.messages import single_function_model, write_package

FP32_ARRAY = 65568
Make = Callable[[Any], None]


def read(tmp_path: Path, model: schema.Model) -> Description:
    """What a package with this model says."""
    path = write_package(tmp_path / f"{len(list(tmp_path.iterdir()))}.mlpackage", model)
    description = read_description(load_program(path).document)
    assert description is not None
    return description


def model_with(make: Make) -> schema.Model:
    model, _ = single_function_model()
    make(model.description)
    return model


def array_of(description: Any, *shape: int) -> Any:
    """The type of a new input x, a multi-array of fp32."""
    feature = description.input.add()
    feature.name = "x"
    feature.type.multiArrayType.dataType = FP32_ARRAY
    feature.type.multiArrayType.shape.extend(shape)
    return feature.type.multiArrayType


def image_of(description: Any, color: int = 20) -> Any:
    feature = description.input.add()
    feature.name = "x"
    image = feature.type.imageType
    image.width, image.height, image.colorSpace = 320, 240, color
    return image


def ranges(field: Any, *bounds: tuple[int, int]) -> None:
    for lower, upper in bounds:
        size = field.sizeRanges.add()
        size.lowerBound, size.upperBound = lower, upper


def plain(description: Any) -> None:
    array_of(description, 1, 3, 224)


def of_unknown_dtype(description: Any) -> None:
    array_of(description, 1).dataType = 7


def without_shape(description: Any) -> None:
    array_of(description)


def ranged(description: Any) -> None:
    ranges(array_of(description, 1, 3, 224).shapeRange, (1, 1), (3, 3), (1, 1024))


def open_ranged(description: Any) -> None:
    ranges(array_of(description, 1, 64).shapeRange, (1, -1), (64, 64))


def enumerated(description: Any) -> None:
    shapes = array_of(description, 1, 3, 224).enumeratedShapes
    for shape in ((1, 3, 224), (1, 3, 448)):
        shapes.shapes.add().shape.extend(shape)


def enumerated_ranks(description: Any) -> None:
    shapes = array_of(description).enumeratedShapes
    for shape in ((1, 3), (1, 3, 2)):
        shapes.shapes.add().shape.extend(shape)


def optional(description: Any) -> None:
    array_of(description, 4).floatDefaultValue = 0.5
    description.input[0].type.isOptional = True


def told(description: Any) -> None:
    array_of(description, 4)
    description.input[0].shortDescription = "the spectrum"


def image(description: Any) -> None:
    image_of(description)


def gray_fp16_image(description: Any) -> None:
    image_of(description, 40)


def image_of_unknown_colors(description: Any) -> None:
    image_of(description, 99)


def ranged_image(description: Any) -> None:
    sizes = image_of(description).imageSizeRange
    sizes.widthRange.lowerBound, sizes.widthRange.upperBound = 64, 640
    sizes.heightRange.lowerBound, sizes.heightRange.upperBound = 48, -1


def enumerated_image(description: Any) -> None:
    sizes = image_of(description).enumeratedSizes.sizes
    for width, height in ((320, 240), (640, 480)):
        size = sizes.add()
        size.width, size.height = width, height


def state(description: Any) -> None:
    feature = description.input.add()
    feature.name = "x"
    feature.type.stateType.arrayType.dataType = FP32_ARRAY
    feature.type.stateType.arrayType.shape.extend((1, 8))


def of(kind: str, *path: str) -> Make:
    def make(description: Any) -> None:
        feature = description.input.add()
        feature.name = "x"
        message = getattr(feature.type, kind)
        message.SetInParent()
        for step in path:
            message = getattr(message, step)
            message.SetInParent()

    return make


def bounded_sequence(description: Any) -> None:
    of("sequenceType", "stringType")(description)
    size = description.input[0].type.sequenceType.sizeRange
    size.lowerBound, size.upperBound = 1, 10


def untyped(description: Any) -> None:
    description.input.add().name = "x"


WORDS: list[tuple[Make, str, str]] = [
    (plain, "array", "fp32[1, 3, 224]"),
    (of_unknown_dtype, "array", "array type 7[1]"),
    (without_shape, "array", "fp32"),
    (ranged, "array", "fp32[1, 3, ?], 1 × 3 × 1…1024, default 1 × 3 × 224"),
    (open_ranged, "array", "fp32[?, 64], 1… × 64, default 1 × 64"),
    (enumerated, "array", "fp32[1, 3, ?], one of 1 × 3 × 224, 1 × 3 × 448, default 1 × 3 × 224"),
    (enumerated_ranks, "array", "fp32[*], one of 1 × 3, 1 × 3 × 2"),
    (optional, "array", "fp32[4], 0.5 where it is left out, optional"),
    (told, "array", 'fp32[4], "the spectrum"'),
    (image, "image", "image RGB 320 × 240"),
    (gray_fp16_image, "image", "image GRAYSCALE_FLOAT16 320 × 240"),
    (image_of_unknown_colors, "image", "image of colour space 99 320 × 240"),
    (ranged_image, "image", "image RGB, 64…640 × 48…, default 320 × 240"),
    (enumerated_image, "image", "image RGB, one of 320 × 240, 640 × 480, default 320 × 240"),
    (state, "state", "state<fp32[1, 8]>"),
    (of("stateType"), "state", "state<no type>"),
    (of("dictionaryType", "stringKeyType"), "dictionary", "dict<string>"),
    (of("dictionaryType", "int64KeyType"), "dictionary", "dict<int64>"),
    (of("sequenceType", "int64Type"), "sequence", "list<int64>"),
    (bounded_sequence, "sequence", "list<string>, 1…10 long"),
    (of("int64Type"), "int64", "int64"),
    (of("doubleType"), "fp64", "fp64"),
    (of("stringType"), "string", "string"),
    (untyped, "no type", "no type"),
]


@pytest.mark.parametrize(("make", "kind", "text"), WORDS, ids=[text for _, _, text in WORDS])
def test_a_feature_has_a_kind_and_words(make: Make, kind: str, text: str, tmp_path: Path) -> None:
    (feature,) = read(tmp_path, model_with(make)).interface.inputs
    assert (feature.name, feature.kind, feature.text) == ("x", kind, text)


@pytest.mark.parametrize(
    ("feature", "mil_type", "text"),
    [
        (Feature("x", "array", "fp32[1, 2]"), "fp32[1, 2]", "fp32[1, 2]"),
        (Feature("x", "array", "fp32"), "fp32[1, 2]", "fp32[1, 2]"),
        (Feature("x", "array", "fp32[?]", ("1…8",)), "fp32[?]", "fp32[?], 1…8"),
        (Feature("x", "array", "fp16[1]"), "fp32[1]", "fp32[1], fp16[1]"),
        (Feature("x", "array", "fp32[1]"), "fp32[1, 2]", "fp32[1, 2], fp32[1]"),
        (Feature("x", "image", "image RGB 8 × 8"), "fp32[1, 3, 8, 8]", "fp32[1, 3, 8, 8], image RGB 8 × 8"),
        (Feature("x", "dictionary", "dict<string>"), "dict<string, fp32>", "dict<string, fp32>"),
        (Feature("x", "state", "state<fp16>"), "state<fp16[8]>", "state<fp16[8]>"),
    ],
)
def test_beside_a_type_the_description_is_what_it_adds(feature: Feature, mil_type: str, text: str) -> None:
    assert feature.text_beside(mil_type) == text


def test_what_the_model_says_of_itself_is_there_and_what_it_does_not_is_not(tmp_path: Path) -> None:
    def make(description: Any) -> None:
        description.metadata.author, description.metadata.versionString = "Ada", "1.2"

    assert read(tmp_path, model_with(make)).about == {"author": "Ada", "version": "1.2"}


def test_everything_that_a_model_can_say_of_itself_is_read(tmp_path: Path) -> None:
    def make(description: Any) -> None:
        for name in ABOUT.values():
            setattr(description.metadata, name, name)

    assert read(tmp_path, model_with(make)).about == ABOUT


def test_features_are_told_apart_by_what_they_are_for(tmp_path: Path) -> None:
    def make(description: Any) -> None:
        for kind in ("input", "output", "state", "trainingInput"):
            getattr(description, kind).add().name = kind
        description.predictedFeatureName, description.predictedProbabilitiesName = "label", "odds"

    interface = read(tmp_path, model_with(make)).interface
    assert [f.name for f in (*interface.inputs, *interface.outputs, *interface.states, *interface.training_inputs)] == [
        "input",
        "output",
        "state",
        "trainingInput",
    ]
    assert (interface.predicted_feature, interface.predicted_probabilities) == ("label", "odds")


def two_functions(description: Any) -> None:
    for name in ("one", "two"):
        function = description.functions.add()
        function.name = name
        array_of(function, len(name))
        function.predictedFeatureName = name
    description.defaultFunctionName = "two"


def test_each_function_has_its_interface(tmp_path: Path) -> None:
    description = read(tmp_path, model_with(two_functions))
    assert description.default_function == "two"
    assert description.interface_of("one").predicted_feature == "one"
    assert description.interface_of("two").inputs[0].text == "fp32[3]"
    assert not description.interface_of("three").inputs


def test_the_interface_of_a_model_is_that_of_its_function(tmp_path: Path) -> None:
    assert read(tmp_path, model_with(plain)).interface_of("main").inputs[0].name == "x"


def pipeline(*models: schema.Model) -> schema.Model:
    model = schema.new_model()
    model.specificationVersion = 9
    for each in models:
        model.pipeline.models.add().CopyFrom(each)
    return model


def neural_network(name: str) -> schema.Model:
    model: Any = schema.new_model()
    model.specificationVersion = 4
    model.neuralNetwork.layers.add().name = name
    return model  # type: ignore[no-any-return]


def test_every_model_in_a_pipeline_describes_itself(tmp_path: Path) -> None:
    inner = neural_network("n")
    image(inner.description)
    description = read(tmp_path, pipeline(model_with(plain), inner))
    assert list(description.stages) == [(0,), (1,)]
    assert description.stages[(0,)].interface.inputs[0].text == "fp32[1, 3, 224]"
    assert description.stages[(1,)].interface.inputs[0].text == "image RGB 320 × 240"


def test_a_built_program_has_no_description() -> None:
    assert read_description(None) is None


def test_a_built_program_is_described_when_it_was_saved(tmp_path: Path) -> None:
    cache = StateType(TensorType(FP16, (1, 8)))
    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 8)), "cache": cache}, IOS18) as f:
        f.outputs(y=f.op("add", x=f.inputs["x"], y=f.op("read_state", input=f.inputs["cache"])))
    description = read_description(load_program(build_program(f).save(tmp_path / "m.mlpackage")).document)
    assert description is not None
    assert [feature.text for feature in description.interface.inputs] == ["fp16[1, 8]"]
    assert [feature.text for feature in description.interface.states] == ["state<fp16[1, 8]>"]


def with_unknown_field(make: Make) -> Make:
    """A field 900 in the type of the first input, which no version of the format has."""

    def made(description: Any) -> None:
        make(description)
        description.input[0].type.MergeFromString(b"\xa0\x38\x01")

    return made


def test_a_field_that_has_no_words_makes_descriptions_differ(tmp_path: Path) -> None:
    a, b = read(tmp_path, model_with(plain)), read(tmp_path, model_with(with_unknown_field(plain)))
    assert a.interface == b.interface
    assert a != b
    assert a.surroundings == b.surroundings


def test_what_lies_beside_the_description_makes_models_differ(tmp_path: Path) -> None:
    updatable: Any = model_with(plain)
    updatable.isUpdatable = True
    a, b = read(tmp_path, model_with(plain)), read(tmp_path, updatable)
    assert a.digest == b.digest
    assert a.surroundings != b.surroundings


def test_models_of_other_kinds_in_a_pipeline_make_it_differ(tmp_path: Path) -> None:
    a, b = (read(tmp_path, pipeline(model_with(plain), neural_network(name))) for name in ("a", "b"))
    assert a.stages[(1,)].surroundings != b.stages[(1,)].surroundings
    assert a.surroundings == b.surroundings


def test_programs_versions_and_the_users_metadata_are_not_part_of_it(tmp_path: Path) -> None:
    other, _ = single_function_model("CoreML7", 8)
    plain(other.description)
    other.description.metadata.userDefined["key"] = "value"
    other.mlProgram.docString = "another"
    assert read(tmp_path, other) == read(tmp_path, model_with(plain))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_real_package_is_described(corpus: Corpus, name: str) -> None:
    program = load_program(corpus.path(name))
    description = read_description(program.document)
    assert description is not None
    for function in program.functions.values():
        interface = description.interface_of(function.name)
        described = {feature.name for feature in (*interface.inputs, *interface.states, *interface.outputs)}
        assert described == {value.name for value in (*function.inputs, *function.outputs)}
