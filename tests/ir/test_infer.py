"""Inferred result types, compared with coremltools' builder over samples, and with what the files of the corpus state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.const import Const
from ir.core import Op, Operand, Value
from ir.infer import Args, InferError
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, Opset, opset_of_key
from ir.specs import OpSpec, op_types, spec_of
from ir.types import (
    BOOL,
    DTYPE_BY_NAME,
    DTYPE_BY_PROTO,
    FP16,
    FP32,
    INT4,
    INT8,
    INT32,
    STRING,
    UINT1,
    UINT4,
    UINT8,
    UNKNOWN,
    VARIADIC,
    DictionaryType,
    Dim,
    ListType,
    StateType,
    TensorType,
    TupleType,
    Type,
)
from tests.ir.pymil import build, type_of
from tests.ir.samples import SAMPLES, Sample, X

CORPUS: Final = Path(__file__).parents[3] / "shared" / "corpus"
OPSETS: Final = (IOS15, IOS16, IOS17, IOS18)
WITHOUT_INFERENCE: Final = {"cond"}
"""Its result types are those of its blocks."""
NOT_SAMPLED: Final = {
    "classify", "cond", "const", "conv_quantized", "list_gather", "list_length", "list_read", "list_scatter", "list_write", "make_list",
    "read_state", "while_loop", "write_state",
    *(t for t in op_types(IOS18) if t.startswith("constexpr_")),
}  # fmt: skip
"""Asked about one by one below, or in the corpus; conv_quantized is in no file."""


def value(type_: Type, name: str = "v", op_type: str = "source") -> Value:
    """A value that is known at run time only."""
    return Op(op_type, {}, [(name, type_)]).outputs[0]


def infer(op_type: str, opset: Opset = IOS18, attributes: Mapping[str, Const] | None = None, /, **operands: Any) -> tuple[Type, ...]:
    """Result types, of operands that are types, literals, or tuples of them."""
    spec = spec_of(op_type, opset)
    assert spec is not None
    assert spec.infer is not None
    return spec.infer(Args(spec, {name: _operands(given) for name, given in operands.items()}, attributes or {}))


def _operands(given_: Any) -> tuple[Operand, ...]:
    if isinstance(given_, tuple):
        return tuple(operand for part in given_ for operand in _operands(part))
    if isinstance(given_, Value | Const):
        return (given_,)
    if isinstance(given_, X):
        return (value(TensorType(DTYPE_BY_NAME[given_.dtype], given_.shape)),)
    return (value(given_),) if isinstance(given_, Type) else (Const.of(given_),)


def tensor(dtype: str, *shape: Dim) -> TensorType:
    return TensorType(DTYPE_BY_NAME[dtype], shape)


# coremltools' builder


CASES: Final = [(sample, opset) for sample in SAMPLES for opset in OPSETS if sample.since <= opset <= sample.until]


def _name(case: Any) -> str:
    return case.op_type if isinstance(case, Sample) else repr(case)


@pytest.mark.parametrize(("sample", "opset"), CASES, ids=_name)
def test_result_types_are_those_of_coremltools_builder(sample: Sample, opset: Opset) -> None:
    assert infer(sample.op_type, opset, **sample.operands) == tuple(map(type_of, build(sample, opset)))


def test_every_op_is_sampled_or_asked_about_by_hand() -> None:
    assert set(op_types(IOS26)) - {s.op_type for s in SAMPLES} == NOT_SAMPLED


def test_every_op_but_a_few_has_inference() -> None:
    for opset in (*OPSETS, IOS26):
        without = {t for t in op_types(opset) if (spec := spec_of(t, opset)) is not None and spec.infer is None}
        assert without == WITHOUT_INFERENCE


def test_a_fixed_number_of_outputs_is_what_inference_yields() -> None:
    for sample, opset in CASES:
        spec = spec_of(sample.op_type, opset)
        assert spec is not None
        assert spec.outputs in (None, len(infer(sample.op_type, opset, **sample.operands))), sample.op_type


# Unknown dimensions


def _shapes(operands: Mapping[str, Any]) -> Iterator[X]:
    for operand in operands.values():
        yield from (part for part in (operand if isinstance(operand, tuple) else (operand,)) if isinstance(part, X))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_an_unknown_dimension_never_makes_a_false_statement(data: st.DataObject) -> None:
    sample, opset = data.draw(st.sampled_from(CASES))
    spec = spec_of(sample.op_type, opset)
    assert spec is not None
    assert spec.infer is not None

    def blurred(operand: Any) -> Any:
        if isinstance(operand, tuple):
            return tuple(blurred(part) for part in operand)
        if not isinstance(operand, X):
            return operand
        kept: list[Dim] = [d if data.draw(st.booleans()) else UNKNOWN for d in operand.shape]
        return tensor(operand.dtype, *kept)

    exact = infer(sample.op_type, opset, **sample.operands)
    vague = infer(sample.op_type, opset, **{k: blurred(v) for k, v in sample.operands.items()})
    assert len(exact) == len(vague)
    for one, other in zip(exact, vague, strict=True):
        assert isinstance(one, TensorType)
        assert isinstance(other, TensorType)
        assert other.dtype is one.dtype
        if other.rank >= 0:
            assert len(other.shape) == len(one.shape)
            assert all(b is UNKNOWN or b == a for a, b in zip(one.shape, other.shape, strict=True))


def test_an_unknown_dimension_against_a_number_broadcasts_to_the_number() -> None:
    assert infer("add", x=tensor("fp32", UNKNOWN, 1), y=tensor("fp32", 3, UNKNOWN)) == (tensor("fp32", 3, UNKNOWN),)


def test_a_shape_of_unknown_length_yields_a_tensor_of_unknown_rank() -> None:
    (result,) = infer("reshape", x=tensor("fp16", 2, 3), shape=tensor("int32", UNKNOWN))
    assert result == TensorType(FP16, (VARIADIC,), rank=-1)


# Compression


def _bits(dtype: str, *shape: int) -> Const:
    kind = DTYPE_BY_NAME[dtype]
    return Const.of(np.zeros(shape, kind.numpy), kind)


def test_affine_dequantize_has_the_type_of_its_scale() -> None:
    attributes = {"quantized_data": _bits("int8", 4, 3), "zero_point": _bits("int8"), "scale": _bits("fp16", 4), "axis": Const.of(0)}
    assert infer("constexpr_affine_dequantize", IOS16, attributes) == (tensor("fp16", 4, 3),)


def test_a_scale_as_long_as_another_axis_is_refused() -> None:
    attributes = {"quantized_data": _bits("int8", 4, 3), "zero_point": _bits("int8"), "scale": _bits("fp16", 4), "axis": Const.of(1)}
    with pytest.raises(InferError, match=r"'scale'.*4 and 3"):
        infer("constexpr_affine_dequantize", IOS16, attributes)


def test_packed_lut_has_the_stated_shape() -> None:
    attributes = {"indices": _bits("uint8", 3), "lut": _bits("fp16", 4), "shape": _shape(3, 4)}
    assert infer("constexpr_lut_to_dense", IOS17, attributes) == (tensor("fp16", 3, 4),)


def test_packed_indices_of_another_length_are_refused() -> None:
    attributes = {"indices": _bits("uint8", 4), "lut": _bits("fp16", 4), "shape": _shape(3, 4)}
    with pytest.raises(InferError, match="bytes in 'indices'"):
        infer("constexpr_lut_to_dense", IOS17, attributes)


def test_packed_sparse_has_the_stated_shape() -> None:
    attributes = {"nonzero_data": _bits("fp32", 5), "mask": _bits("uint8", 2), "shape": _shape(3, 4)}
    assert infer("constexpr_sparse_to_dense", IOS16, attributes) == (tensor("fp32", 3, 4),)


def _shape(*dims: int) -> Const:
    return Const.of(np.array(dims, np.uint32))


def test_constexpr_cast_is_fp32() -> None:
    assert infer("constexpr_cast", source_val=_bits("fp16", 2, 3), output_dtype="fp32") == (tensor("fp32", 2, 3),)
    attributes = {"source_val": _bits("fp16", 2), "output_dtype": Const.of("fp32")}
    assert infer("constexpr_cast", IOS17, attributes) == (tensor("fp32", 2),)


def test_blockwise_scales_divide_the_data() -> None:
    assert infer("constexpr_blockwise_shift_scale", data=_bits("int4", 4, 6), scale=_bits("fp16", 2, 3)) == (tensor("fp16", 4, 6),)
    with pytest.raises(InferError, match="which 4 does not divide"):
        infer("constexpr_blockwise_shift_scale", data=_bits("int4", 4, 6), scale=_bits("fp16", 1, 4))


@pytest.mark.parametrize(("data", "offset", "legal"), [("int8", "int8", True), ("int4", "fp16", True), ("int8", "uint8", False)])
def test_an_offset_is_of_the_data_type_or_a_float(data: str, offset: str, legal: bool) -> None:
    operands = {"data": _bits(data, 4, 6), "scale": _bits("fp16", 4, 1), "offset": _bits(offset, 4, 1)}
    if legal:
        assert infer("constexpr_blockwise_shift_scale", **operands) == (tensor("fp16", 4, 6),)
    else:
        with pytest.raises(InferError, match="'offset'"):
            infer("constexpr_blockwise_shift_scale", **operands)


def test_a_vector_lut_widens_its_axis() -> None:
    operands = {"indices": _bits("uint2", 16, 32), "lut": _bits("fp16", 4, 1, 4, 3), "vector_axis": -2}
    assert infer("constexpr_lut_to_dense", **operands) == (tensor("fp16", 48, 32),)


@pytest.mark.parametrize(
    ("lut", "message"),
    [((1, 1, 8, 1), "not 8 entries"), ((1, 4, 1), "rank"), ((3, 1, 4, 1), "does not divide"), ((1, 1, 4, 2), "needs a 'vector_axis'")],
)
def test_a_lut_that_does_not_fit_its_indices_is_refused(lut: tuple[int, ...], message: str) -> None:
    with pytest.raises(InferError, match=message):
        infer("constexpr_lut_to_dense", indices=_bits("uint2", 16, 32), lut=_bits("fp16", *lut))


def test_sparse_forms_yield_the_mask_and_the_elements() -> None:
    lut = {"indices_mask": _bits("uint1", 6, 2), "indices_nonzero_data": _bits("uint4", 5), "lut": _bits("int8", 1, 1, 16, 2)}
    assert infer("constexpr_lut_to_sparse", vector_axis=0, **lut) == (tensor("uint1", 12, 2), tensor("int8", 10))
    scaled = {"data_mask": _bits("uint1", 6, 2), "nonzero_data": _bits("int8", 5), "scale": _bits("fp16", 3, 1)}
    assert infer("constexpr_sparse_blockwise_shift_scale", **scaled) == (tensor("uint1", 6, 2), tensor("fp16", 5))
    dense = {"nonzero_data": _bits("fp16", 5), "mask": _bits("uint1", 6, 2)}
    assert infer("constexpr_sparse_to_dense", **dense) == (tensor("fp16", 6, 2),)


# States, lists, and the rest that coremltools' builder cannot be asked about


def test_a_state_is_read_as_what_it_wraps() -> None:
    state = StateType(tensor("fp16", 1, 8))
    assert infer("read_state", input=state) == (tensor("fp16", 1, 8),)
    assert infer("write_state", input=state, data=tensor("fp16", 1, 8)) == ()


def test_a_state_refuses_another_shape() -> None:
    with pytest.raises(InferError, match="'data' and the state"):
        infer("write_state", input=StateType(tensor("fp16", 1, 8)), data=tensor("fp16", 1, 9))


def test_lists_hold_what_they_were_made_for() -> None:
    (made,) = infer("make_list", init_length=4, dynamic_length=False, elem_shape=(2, 3), dtype="fp32")
    assert made == ListType(tensor("fp32", 2, 3), 4)
    assert infer("list_write", ls=made, index=0, value=tensor("fp32", 2, 3)) == (made,)
    assert infer("list_read", ls=made, index=0) == (tensor("fp32", 2, 3),)
    assert infer("list_gather", ls=made, indices=np.zeros(5, np.int32)) == (tensor("fp32", 5, 2, 3),)
    assert infer("list_scatter", ls=made, indices=np.zeros(5, np.int32), value=tensor("fp32", 5, 2, 3)) == (made,)
    assert infer("list_length", ls=made) == (tensor("int32"),)


def test_a_classifier_yields_a_label_and_its_probabilities() -> None:
    classes = Const.list_of([Const.of("cat"), Const.of("dog")], TensorType(STRING))
    assert infer("classify", probabilities=tensor("fp32", 2), classes=classes) == (
        tensor("string"),
        DictionaryType(tensor("string"), tensor("fp64")),
    )


def test_a_const_is_of_the_type_of_its_value() -> None:
    assert infer("const", IOS15, {"val": _bits("fp16", 2)}) == (tensor("fp16", 2),)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(InferError, match="linear: the required parameter 'weight' is missing"):
        infer("linear", x=tensor("fp32", 2, 3))


# Malformed operands

DTYPES_OF_GARBAGE: Final = (BOOL, STRING, FP16, FP32, INT4, INT8, INT32, UINT1, UINT4, UINT8)
DIMS: Final = st.sampled_from((0, 1, 2, 3, 4, 2**31, UNKNOWN))
TYPES: Final = st.one_of(
    st.builds(TensorType, st.sampled_from(DTYPES_OF_GARBAGE), st.lists(DIMS, max_size=5).map(tuple)),
    st.just(TensorType(FP32, (VARIADIC,), -1)),
    st.just(ListType(TensorType(FP32, (2,)))),
    st.just(StateType(TensorType(FP16, (2,)))),
    st.just(TupleType(())),
)
LITERALS: Final = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-3, 3),
    st.floats(width=32),
    st.booleans(),
    st.sampled_from(("", "same", "custom", "fp16", "nchw,nwhu->nchu", "ab->ab", "bidirectional")),
    st.lists(st.integers(-3, 5), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(-3, 5), min_size=2, max_size=2), min_size=1, max_size=3),
).map(Const.of)
GARBAGE: Final = st.one_of(TYPES.map(value), LITERALS)


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_malformed_operands_raise_nothing_but_an_infer_error(data: st.DataObject) -> None:
    sample, opset = data.draw(st.sampled_from(CASES))
    operands = {name: _operands(operand) for name, operand in sample.operands.items()}
    spec = spec_of(sample.op_type, opset)
    assert spec is not None
    assert spec.infer is not None
    for name in data.draw(st.lists(st.sampled_from([p.name for p in spec.params]), min_size=1, max_size=3)):
        operands[name] = tuple(data.draw(st.lists(GARBAGE, max_size=2)))
    with suppress(InferError):
        spec.infer(Args(spec, operands))


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_garbage_for_all_parameters_raises_nothing_but_an_infer_error(data: st.DataObject) -> None:
    opset = data.draw(st.sampled_from(OPSETS))
    spec = spec_of(data.draw(st.sampled_from([t for t in op_types(opset) if t not in WITHOUT_INFERENCE])), opset)
    assert spec is not None
    assert spec.infer is not None
    operands = {p.name: tuple(data.draw(st.lists(GARBAGE, max_size=2))) for p in spec.params if p.name not in spec.attributes}
    attributes = {name: data.draw(LITERALS) for name in sorted(spec.attributes)}
    with suppress(InferError):
        spec.infer(Args(spec, operands, attributes))


# The corpus


def _models() -> list[Path]:
    return sorted(CORPUS.glob("**/*.mlmodel"))


def _from_proto(found: Any) -> Type:
    kind = found.WhichOneof("type")
    if kind == "tensorType":
        tensor_ = found.tensorType
        dims = (
            d.constant.size if d.WhichOneof("dimension") == "constant" else VARIADIC if d.unknown.variadic else UNKNOWN
            for d in tensor_.dimensions
        )
        return TensorType(DTYPE_BY_PROTO[tensor_.dataType], dims, tensor_.rank)
    if kind == "listType":
        length = found.listType.length
        size: Dim = length.constant.size if length.WhichOneof("dimension") == "constant" else UNKNOWN
        return ListType(_from_proto(found.listType.type), size)
    if kind == "stateType":
        return StateType(_from_proto(found.stateType.wrappedType))
    if kind == "dictionaryType":
        return DictionaryType(_from_proto(found.dictionaryType.keyType), _from_proto(found.dictionaryType.valueType))
    return TupleType(_from_proto(t) for t in found.tupleType.types)


FIELDS: Final = {"floats": FP32, "ints": INT32, "bools": BOOL, "strings": STRING, "bytes": UINT8}


def _literal(found: Any) -> Operand:
    """An immediate value with its data; one in the weight file, whose data no inference needs, as a value of its type."""
    type_ = _from_proto(found.type)
    if found.WhichOneof("value") != "immediateValue" or not isinstance(type_, TensorType):
        return value(type_)
    tensor_ = found.immediateValue.tensor
    field = tensor_.WhichOneof("value")
    data: Any = getattr(tensor_, field).values
    if field == "bytes":
        if type_.dtype.is_subbyte:
            return value(type_)
        array = np.frombuffer(data, type_.dtype.numpy)
    else:
        array = np.array(list(data), object if field == "strings" else type_.dtype.numpy)
    if array.size == 1 and type_.numel != 1:
        array = np.broadcast_to(array, type_.static_shape)
    return Const.of(array.reshape(type_.static_shape), type_.dtype)


def _operations(block: Any, scope: dict[str, Operand]) -> Iterator[tuple[Any, dict[str, tuple[Operand, ...]], dict[str, Const]]]:
    """Every op of a block and of its nested blocks, with its operands and attributes."""
    scope = scope | {named.name: value(_from_proto(named.type)) for named in block.inputs}
    for op in block.operations:
        operands = {
            parameter: tuple(scope[b.name] if b.WhichOneof("binding") == "name" else _literal(b.value) for b in argument.arguments)
            for parameter, argument in op.inputs.items()
        }
        attributes = {name: _literal(held) for name, held in op.attributes.items()}
        yield op, operands, {name: held for name, held in attributes.items() if isinstance(held, Const)} | {
            name: Const(held.type, ()) for name, held in attributes.items() if isinstance(held, Value)
        }
        for nested in op.blocks:
            yield from _operations(nested, scope)
        for output in op.outputs:
            is_known = op.type == "const" and isinstance(attributes.get("val"), Const)
            scope[output.name] = attributes["val"] if is_known else value(_from_proto(output.type), output.name, op.type)


def _functions(path: Path) -> Iterator[tuple[Opset, Any, dict[str, Operand]]]:
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    for part in (model, *model.pipeline.models):
        for function in part.mlProgram.functions.values():
            inputs: dict[str, Operand] = {i.name: value(_from_proto(i.type)) for i in function.inputs}
            for key, block in function.block_specializations.items():
                opset = opset_of_key(key)
                assert opset is not None
                yield opset, block, inputs


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("path", _models(), ids=lambda p: p.relative_to(CORPUS).parts[0 if "graph-only" not in p.parts else 1])
def test_inferred_types_are_those_that_real_models_state(path: Path) -> None:
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    for opset, block, inputs in _functions(path):
        for op, operands, attributes in _operations(block, inputs):
            spec = spec_of(op.type, opset)
            assert spec is not None, op.type
            if spec.infer is None:
                continue
            found = spec.infer(Args(spec, operands, attributes))
            stated = tuple(_from_proto(output.type) for output in op.outputs)
            seen[op.type] += 1
            if found != stated:
                wrong.append(f"{op.type} {operands}: {found} and not {stated}")
    assert seen or "pipeline" in str(path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("path", _models(), ids=lambda p: p.relative_to(CORPUS).parts[0 if "graph-only" not in p.parts else 1])
def test_real_models_keep_to_the_tables(path: Path) -> None:
    for opset, block, inputs in _functions(path):
        for op, operands, attributes in _operations(block, inputs):
            spec = spec_of(op.type, opset)
            assert spec is not None, op.type
            _check_operands(spec, operands, opset)
            assert set(attributes) - {"name"} == spec.attributes & set(attributes), op.type
            assert spec.outputs in (None, len(op.outputs)), op.type
            assert len(op.blocks) == spec.blocks, op.type


def _check_operands(spec: OpSpec, operands: Mapping[str, tuple[Operand, ...]], opset: Opset) -> None:
    domains: dict[str, set[str]] = {}
    for name, held in operands.items():
        param = spec.param(name)
        assert param is not None, f"{spec.op_type}.{name}"
        assert param.variadic or len(held) == 1, f"{spec.op_type}.{name}"
        for operand in held:
            if isinstance(operand.type, TensorType):
                assert operand.type.dtype in param.dtypes, f"{spec.op_type}.{name}: {operand.type}"
                if param.domain is not None:
                    domains.setdefault(param.domain, set()).add(operand.type.dtype.name)
            if isinstance(operand, Value) and isinstance(operand.owner, Op) and operand.owner.op_type.startswith("constexpr_"):
                assert param.constexpr is not None, f"{spec.op_type}.{name}"
                assert param.constexpr <= opset, f"{spec.op_type}.{name}"
    assert all(len(dtypes) == 1 for dtypes in domains.values()), f"{spec.op_type}: {domains}"
    missing = [p.name for p in spec.params if not p.optional and p.name not in operands and p.name not in spec.attributes]
    assert not missing, f"{spec.op_type}: {missing}"
