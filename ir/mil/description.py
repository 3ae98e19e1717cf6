"""What a model says of itself beside its programs, as plain data: who made it, what goes in and out, which function runs by default.

    image RGB 224 × 224                           an image, width × height
    fp32[?, 64], 1…1024 × 64, default 1 × 64      a multi-array within ranges of sizes; 1… has no upper bound
    fp16[1, ?], one of 1 × 8, 1 × 16, optional    one of a few shapes, which need not be given
    state<fp16[1, 8]>, dict<string>, list<int64>  states, dictionaries (of numbers) by key, sequences

Two models whose descriptions differ have different `Description`s: what the words leave out is in a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, Final

from attrs import field, frozen

from ir.mil import schema
from ir.mil.document import Document
from ir.mil.interface import ARRAY_TYPES
from ir.mil.lift import PIPELINES, stages_of

ABOUT: Final = {"description": "shortDescription", "author": "author", "license": "license", "version": "versionString"}
"""What a model can say about itself, by the protobuf's names."""

KINDS: Final = {
    "multiArrayType": "array",
    "imageType": "image",
    "stateType": "state",
    "dictionaryType": "dictionary",
    "sequenceType": "sequence",
    "int64Type": "int64",
    "doubleType": "fp64",
    "stringType": "string",
    "int64KeyType": "int64",
    "stringKeyType": "string",
    None: "no type",
}
"""What a feature can be, and the elements and keys of sequences and dictionaries, by the protobuf's names."""


@frozen
class Feature:
    """An input, output or state as the description has it."""

    name: str
    kind: str
    """One of the values of `KINDS`."""
    type: str
    """In the notation of MIL's types as far as the description goes: a shape, the values of a dictionary may be left out."""
    details: tuple[str, ...] = ()
    """Sizes, default, optional-ness and what people are told of it, in this order."""

    @property
    def text(self) -> str:
        """`fp32[?, 64], 1…1024 × 64, default 1 × 64`."""
        return ", ".join((self.type, *self.details))

    def text_beside(self, mil_type: str) -> str:
        """The type that the function gives the value, then what the description adds: `fp32[1, 3, 8, 8], image RGB 8 × 8`."""
        start = self.type.removesuffix(">")
        agrees = mil_type == self.type or mil_type.startswith((f"{start}[", f"{start},"))
        return ", ".join((mil_type, *self.details)) if agrees else f"{mil_type}, {self.text}"


@frozen
class Interface:
    """What a function takes and returns as the description has it."""

    inputs: tuple[Feature, ...] = ()
    states: tuple[Feature, ...] = ()
    outputs: tuple[Feature, ...] = ()
    training_inputs: tuple[Feature, ...] = ()
    predicted_feature: str = ""
    """The output that holds the predicted label of a classifier."""
    predicted_probabilities: str = ""


@frozen
class Description:
    """What a model says of itself; of a pipeline, with what each model in it says."""

    about: Mapping[str, str] = field(factory=dict)
    """By the keys of `ABOUT`; what is empty is left out."""
    interface: Interface = Interface()
    """Of the only function, or of a pipeline; that of a model which describes its functions is empty as a rule."""
    functions: Mapping[str, Interface] = field(factory=dict)
    """Of each function, where the model describes them by name."""
    default_function: str = ""
    stages: Mapping[tuple[int, ...], Description] = field(factory=dict)
    """Of each model in a pipeline, by its position in it as in `Program.stages`; models that are no ML Programs too."""
    digest: str = ""
    """SHA-256 of the whole description, except for the user's metadata, which `Program.metadata` holds."""
    surroundings: str = ""
    """SHA-256 of what the model holds beside programs, specification version, description and the models in it."""

    def interface_of(self, function: str) -> Interface:
        """That of a function: by its name, or the model's where it describes no functions. Empty where it is not described."""
        return self.functions.get(function, Interface()) if self.functions else self.interface


def read_description(document: object) -> Description | None:
    """What the model says that a program was loaded from (`Program.document`); None for a program that was built."""
    if not isinstance(document, Document):
        return None
    model = schema.new_model()
    model.ParseFromString(document.model)
    model.description.metadata.userDefined.clear()
    return _description(model)


def _description(model: Any) -> Description:
    """Takes the message apart: nothing of it is left."""
    message = model.description
    if not message.metadata.ByteSize():  # an empty one says no more than none
        message.ClearField("metadata")
    kind = model.WhichOneof("Type")
    stages: dict[tuple[int, ...], Description] = {}
    if kind in PIPELINES:
        stages = {(index,): _description(stage) for index, stage in enumerate(stages_of(model, kind))}
    return Description(
        about={key: text for key, name in ABOUT.items() if (text := getattr(message.metadata, name))},
        interface=_interface(message, _features(message.trainingInput)),
        functions={function.name: _interface(function) for function in message.functions},
        default_function=message.defaultFunctionName,
        stages=stages,
        digest=_digest(message),
        surroundings=_surroundings(model, kind),
    )


def _surroundings(model: Any, kind: str | None) -> str:
    """Empties the model of what is told elsewhere, and digests the rest."""
    model.ClearField("description")
    if kind == "mlProgram":
        model.ClearField(kind)
    elif kind in PIPELINES:
        del stages_of(model, kind)[:]
    if kind == "mlProgram" or kind in PIPELINES:
        model.ClearField("specificationVersion")
    return _digest(model)


def _digest(message: schema.Message) -> str:
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()


def _interface(message: Any, training_inputs: tuple[Feature, ...] = ()) -> Interface:
    return Interface(
        inputs=_features(message.input),
        states=_features(message.state),
        outputs=_features(message.output),
        training_inputs=training_inputs,
        predicted_feature=message.predictedFeatureName,
        predicted_probabilities=message.predictedProbabilitiesName,
    )


def _features(messages: Iterable[Any]) -> tuple[Feature, ...]:
    return tuple(map(_feature, messages))


def _feature(message: Any) -> Feature:
    which = message.type.WhichOneof("Type")
    kind, details = KINDS[which], list[str]()
    notation = kind
    if which == "multiArrayType":
        notation, details = _array(message.type.multiArrayType)
    elif which == "imageType":
        notation, details = _image(message.type.imageType)
    elif which == "stateType":
        notation, details = _state(message.type.stateType)
    elif which == "dictionaryType":
        notation = f"dict<{KINDS[message.type.dictionaryType.WhichOneof('KeyType')]}>"
    elif which == "sequenceType":
        notation, details = _sequence(message.type.sequenceType)
    if message.type.isOptional:
        details.append("optional")
    if message.shortDescription:
        details.append(f'"{message.shortDescription}"')
    return Feature(message.name, kind, notation, tuple(details))


def _array(message: Any) -> tuple[str, list[str]]:
    default = tuple(message.shape)
    dims: Iterable[object] = default
    details = []
    if ranges := [(size.lowerBound, size.upperBound) for size in message.shapeRange.sizeRanges]:
        dims = ("?" if lower != upper else lower for lower, upper in ranges)
        details = [_product(_bounds(*bounds) for bounds in ranges)]
    elif shapes := [tuple(each.shape) for each in message.enumeratedShapes.shapes]:
        dims = _common(shapes)
        details = [f"one of {', '.join(map(_product, shapes))}"]
    if details and default:
        details.append(f"default {_product(default)}")
    value = message.WhichOneof("defaultOptionalValue")
    if value is not None:
        details.append(f"{getattr(message, value)!r} where it is left out")
    shape = ", ".join(map(str, dims))
    return _dtype(message.dataType) + (f"[{shape}]" if shape else ""), details


def _common(shapes: list[tuple[int, ...]]) -> Iterator[object]:
    """The dimensions that all shapes have, `?` where they differ, `*` where their ranks do."""
    if len({len(shape) for shape in shapes}) > 1:
        yield "*"
        return
    for sizes in zip(*shapes, strict=True):
        yield sizes[0] if len(set(sizes)) == 1 else "?"


def _image(message: Any) -> tuple[str, list[str]]:
    color = _names("ImageFeatureType", "ColorSpace").get(message.colorSpace, f"of colour space {message.colorSpace}")
    default = _product((message.width, message.height))
    which = message.WhichOneof("SizeFlexibility")
    if which is None:
        return f"image {color} {default}", []
    if which == "imageSizeRange":
        both = (message.imageSizeRange.widthRange, message.imageSizeRange.heightRange)
        sizes = _product(_bounds(size.lowerBound, size.upperBound) for size in both)
    else:
        sizes = f"one of {', '.join(_product((size.width, size.height)) for size in message.enumeratedSizes.sizes)}"
    return f"image {color}", [sizes, f"default {default}"]


def _state(message: Any) -> tuple[str, list[str]]:
    if message.WhichOneof("Type") is None:
        return f"state<{KINDS[None]}>", []
    notation, details = _array(message.arrayType)
    return f"state<{notation}>", details


def _sequence(message: Any) -> tuple[str, list[str]]:
    sizes = [f"{_bounds(message.sizeRange.lowerBound, message.sizeRange.upperBound)} long"] if message.HasField("sizeRange") else []
    return f"list<{KINDS[message.WhichOneof('Type')]}>", sizes


def _bounds(lower: int, upper: int) -> str:
    if upper < 0:
        return f"{lower}…"
    return str(lower) if lower == upper else f"{lower}…{upper}"


def _product(sizes: Iterable[object]) -> str:
    return " × ".join(map(str, sizes)) or "scalar"


def _dtype(number: int) -> str:
    dtypes = {name: dtype.name for dtype, (name, _) in ARRAY_TYPES.items()}
    name = _names("ArrayFeatureType", "ArrayDataType").get(number, "")
    return dtypes.get(name, f"array type {number}")


@cache
def _names(message: str, enumeration: str) -> Mapping[int, str]:
    """The names of an enumeration's numbers; newer formats may use others."""
    enum = getattr(getattr(schema.feature_types(), message), enumeration)
    return {number: name for name, number in enum.items()}
