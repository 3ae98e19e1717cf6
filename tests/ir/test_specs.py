"""The op tables, compared with coremltools' registry row by row; and the look-ups over them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

from ir.const import Const
from ir.core import Op, Value
from ir.opset import IOS15, IOS16, IOS17, IOS18, IOS26, OPSETS, Opset
from ir.specs import (
    Meaning,
    OpSpec,
    Param,
    PerSpatialDim,
    changes,
    channel_axes,
    einsum_channels,
    first_opset,
    op_types,
    spec_of,
    weight_params,
)
from ir.types import DTYPE_BY_NAME, FP32, UNKNOWN, DType, TensorType
from tests.ir.pymil import build
from tests.ir.samples import SAMPLES, Sample, X

NOT_IN_FILES: Final = {
    "_const_symbolic": "a device of PyMIL for symbolic shapes; a file has none",
}
OURS_ALONE: Final = {
    "write_state": "PyMIL holds coreml_update_state, which it writes as write_state and read_state",
}
OTHER_PARAMETERS: Final = {
    "cond": "PyMIL's _true_fn, _false_fn and _existing_blocks are the blocks of the op in a file",
    "while_loop": "PyMIL's _cond, _body and _existing_blocks are the blocks of the op in a file",
}
OTHER_ORDER: Final = {
    "avg_pool": "PyMIL lists its own parameter before those inherited from Pool; the documentation does not",
}
OTHER_DEFAULT: Final = {
    ("linear", "bias"): "PyMIL writes zeros as many as the weight has rows, which is no bias",
    ("layer_norm", "axes"): "PyMIL writes all axes, which is what absence means",
    ("crop_resize", "box_indices"): "PyMIL writes 0, 1, … as many as there are boxes, which is what absence means",
    ("gru", "reset_after"): "documented as False; PyMIL leaves it out",
}


def _registry() -> dict[str, dict[Opset, Any]]:
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    targets = {opset: getattr(ct.target, opset.target) for opset in OPSETS if opset is not IOS26}
    return {
        op_type: {opset: versions[target] for opset, target in targets.items() if target in versions}
        for op_type, versions in SSAOpRegistry.core_ops.items()
        if op_type not in NOT_IN_FILES
    }


@pytest.fixture(scope="module")
def registry() -> dict[str, dict[Opset, Any]]:
    return _registry()


Pair = tuple[str, Opset, OpSpec, Any]


@pytest.fixture(scope="module")
def pairs(registry: dict[str, dict[Opset, Any]]) -> list[Pair]:
    """Every op in every opset: our row and coremltools' class."""
    found = [
        (op_type, opset, spec, row)
        for op_type, versions in registry.items()
        for opset, row in versions.items()
        if (spec := spec_of(op_type, opset)) is not None
    ]
    assert len(found) > 600
    return found


def _parameters(pairs: list[Pair]) -> Iterator[tuple[str, Param, Any, Any]]:
    """Every parameter of every row: where it is, ours, coremltools', and coremltools' class."""
    for op_type, opset, spec, row in pairs:
        if op_type in OTHER_PARAMETERS:
            continue
        for name, theirs in row.input_spec.input_types.items():
            ours = spec.param(name)
            assert ours is not None, f"{op_type}.{name} at {opset}"
            yield f"{op_type}.{name} at {opset}", ours, theirs, row


def test_every_op_type_of_coremltools_has_a_row(registry: dict[str, dict[Opset, Any]]) -> None:
    ours = {opset: set(op_types(opset)) - set(OURS_ALONE) for opset in OPSETS}
    theirs = {opset: {t for t, versions in registry.items() if opset in versions} for opset in ours}
    assert {o: ours[o] for o in (IOS15, IOS16, IOS17, IOS18)} == {o: theirs[o] for o in (IOS15, IOS16, IOS17, IOS18)}


def test_a_row_begins_where_coremltools_has_another_class(registry: dict[str, dict[Opset, Any]]) -> None:
    for op_type, versions in registry.items():
        rows = list(versions.items())
        new = [o for i, (o, row) in enumerate(rows) if i == 0 or row is not rows[i - 1][1]]
        ours = [o for o in OPSETS if (spec := spec_of(op_type, o)) is not None and spec.since == o]
        assert ours == new, op_type


def test_parameters_and_their_order_are_those_of_coremltools(pairs: list[Pair]) -> None:
    for op_type, opset, spec, row in pairs:
        if op_type in OTHER_PARAMETERS:
            continue
        ours, theirs = [p.name for p in spec.params], list(row.input_spec.input_types)
        if op_type in OTHER_ORDER:
            ours, theirs = sorted(ours), sorted(theirs)
        assert ours == theirs, f"{op_type} at {opset}"


def test_the_same_parameters_are_optional(pairs: list[Pair]) -> None:
    for where, ours, theirs, _ in _parameters(pairs):
        assert ours.optional == theirs.optional, where


def test_the_same_parameters_are_constant(pairs: list[Pair]) -> None:
    for where, ours, theirs, _ in _parameters(pairs):
        assert ours.const == theirs.const, where


def test_kinds_of_parameters_match(pairs: list[Pair]) -> None:
    kinds = {
        "TensorInputType": ("tensor", False),
        "TupleInputType": ("tensor", True),
        "ListInputType": ("list", False),
        "StateInputType": ("state", False),
        "ListOrTensorOrDictInputType": ("any", False),
        "InternalInputType": ("any", False),
    }
    for where, ours, theirs, _ in _parameters(pairs):
        assert (ours.kind, ours.variadic) == kinds[type(theirs).__name__], where


def test_element_types_and_domains_match(pairs: list[Pair]) -> None:
    from coremltools.converters.mil.mil import types

    names = {"int32": "int32", "str": "string", "bool": "bool"}
    for where, ours, theirs, row in _parameters(pairs):
        if type(theirs).__name__ != "TensorInputType":
            continue
        domain = theirs.type_domain_id
        accepted = row.type_domains[domain] if domain else theirs.type_domain
        wanted = {names.get(text := types.builtin_to_string(t), text) for t in accepted}
        assert {d.name for d in ours.dtypes} == wanted, where
        assert ours.domain == domain, where


def _defaults(row: Any) -> dict[str, Any]:
    """The defaults that a class gives an op over fp32[2, 3, 4, 5], two spatial dimensions."""
    from coremltools.converters.mil.mil import types

    stub = SimpleNamespace(rank=4, shape=(2, 3, 4, 5), dtype=types.fp32)
    op = row.__new__(row)
    for name in row.input_spec.input_types:
        setattr(op, name, stub if name in ("x", "weight", "boxes") else None)
    return dict(row.default_inputs(op).items())


def test_defaults_match(pairs: list[Pair]) -> None:
    for op_type, opset, spec, row in pairs:
        if op_type in OTHER_PARAMETERS:
            continue
        defaults = _defaults(row)
        for param in spec.params:
            if (op_type, param.name) in OTHER_DEFAULT:
                continue
            ours = param.default.at(4) if isinstance(param.default, PerSpatialDim) else param.default
            theirs = defaults.get(param.name)
            where = f"{op_type}.{param.name} at {opset}"
            if isinstance(ours, float) and isinstance(theirs, np.floating):
                assert np.float32(ours) == theirs, where
            else:
                assert (list(ours) if isinstance(ours, tuple) else ours) == theirs, where
                assert type(ours) is not bool or type(theirs) is bool, where


def test_only_an_optional_parameter_has_a_default() -> None:
    for op_type in op_types(IOS26):
        for opset in OPSETS:
            spec = spec_of(op_type, opset)
            assert spec is None or all(p.optional for p in spec.params if p.default is not None), op_type


# Constexpr operands

REFUSED_BY_US: Final = {
    (op_type, param): "a parameter of activation quantization; the builder takes any constant because it cannot see this one's value"
    for op_type in ("quantize", "dequantize")
    for param in ("scale", "zero_point")
}


def _array(operand: Any) -> Any:
    """An operand's element type and shape as an array, None where no constexpr op could yield it."""
    if isinstance(operand, X):
        dtype = DTYPE_BY_NAME[operand.dtype].numpy
        array = np.zeros(operand.shape, dtype)
    else:
        array = np.asarray(operand)
    return array if array.ndim and array.dtype in (np.float16, np.float32, np.int8, np.uint8) else None


def _decompressed(array: Any, opset: Opset) -> Any:
    """The output of a constexpr op, of the element type and shape of an array."""
    from coremltools.converters.mil.mil import Builder, types

    if opset < IOS18:
        indices = np.zeros(-(-array.size // 8), np.uint8)
        return Builder.constexpr_lut_to_dense(indices=indices, lut=np.ones(2, array.dtype), shape=np.array(array.shape, np.uint32))
    lut = np.ones((1,) * array.ndim + (2, 1), array.dtype)
    return Builder.constexpr_lut_to_dense(indices=np.zeros(array.shape, types.np_uint1_dtype), lut=lut)


def _accepts_constexpr(sample: Sample, opset: Opset, name: str) -> bool:
    try:
        build(sample, opset, lambda given, operand: _decompressed(_array(operand), opset) if given == name else None)
    except Exception:  # the builder raises whatever its inference stumbles over
        return False
    return True


def _constexpr_cases() -> Iterator[tuple[str, str, Opset, Sample, str]]:
    """Parameters of sampled ops, each at each opset, with a sample that gives it and the name of its first operand."""
    seen = set()
    for sample in SAMPLES:
        for opset in (IOS16, IOS17, IOS18):
            for param, operand in sample.operands.items():
                first = operand[0] if isinstance(operand, tuple) else operand
                case = (sample.op_type, param, opset)
                if not sample.since <= opset <= sample.until or case in seen or case[:2] in REFUSED_BY_US or _array(first) is None:
                    continue
                seen.add(case)
                yield *case, sample, f"{param}_0" if isinstance(operand, tuple) else param


@pytest.mark.parametrize("opset", [IOS16, IOS17, IOS18], ids=repr)
def test_a_constexpr_feeds_what_coremltools_lets_it_feed(opset: Opset) -> None:
    wrong = []
    for op_type, name, at, sample, operand in _constexpr_cases():
        if at is not opset:
            continue
        param = _spec(op_type, opset).param(name)
        assert param is not None
        ours = param.constexpr is not None and param.constexpr <= opset
        if ours is not _accepts_constexpr(sample, opset, operand):
            wrong.append(f"{op_type}.{name}: {ours}")
    assert not wrong


def test_a_constexpr_never_feeds_prelu() -> None:
    alpha = _spec("prelu", IOS26).param("alpha")
    assert alpha is not None
    assert alpha.constexpr is None


def test_constexprs_chain_from_ios18_on_only() -> None:
    chaining = {
        (opset, op_type, p.name)
        for opset in OPSETS
        for op_type in op_types(opset)
        if op_type.startswith("constexpr_")
        for p in _spec(op_type, opset).params
        if p.constexpr is not None and p.constexpr <= opset
    }
    assert {opset for opset, _, _ in chaining} == {IOS18, IOS26}
    assert (IOS18, "constexpr_lut_to_dense", "lut") in chaining
    assert (IOS18, "constexpr_lut_to_dense", "vector_axis") not in chaining


# Look-ups


def _spec(op_type: str, opset: Opset) -> OpSpec:
    found = spec_of(op_type, opset)
    assert found is not None
    return found


def test_an_op_is_unknown_before_its_opset() -> None:
    assert spec_of("scaled_dot_product_attention", IOS17) is None
    assert first_opset("scaled_dot_product_attention") is IOS18


def test_an_op_without_a_row_is_nothing_known() -> None:
    assert spec_of("custom_thing", IOS18) is None
    assert first_opset("custom_thing") is None
    assert changes("custom_thing", IOS15, IOS18) == []


def test_the_row_of_an_older_opset_holds_until_it_is_revised() -> None:
    assert _spec("gather", IOS26) is _spec("gather", IOS17)
    assert _spec("gather", IOS16) is not _spec("gather", IOS15)


def test_a_per_dimension_default_follows_the_rank() -> None:
    pad = _spec("conv", IOS15).param("pad")
    assert pad is not None
    assert isinstance(pad.default, PerSpatialDim)
    assert pad.default.at(4) == (0, 0, 0, 0)


# Purity


def test_only_writing_a_state_forbids_erasing() -> None:
    assert {t for t in op_types(IOS26) if not _spec(t, IOS26).pure} == {"write_state"}


def test_random_numbers_lists_and_states_are_not_merged() -> None:
    alone = {t for t in op_types(IOS26) if not _spec(t, IOS26).deterministic}
    assert alone == {
        "random_bernoulli", "random_categorical", "random_normal", "random_uniform",
        "list_gather", "list_length", "list_read", "list_scatter", "list_write", "make_list",
        "read_state", "write_state",
    }  # fmt: skip


def test_only_control_flow_has_blocks() -> None:
    assert {t for t in op_types(IOS26) if _spec(t, IOS26).blocks} == {"cond", "while_loop"}


def test_the_first_constexpr_forms_are_held_as_attributes() -> None:
    assert _spec("constexpr_lut_to_dense", IOS17).attributes == {"indices", "lut", "shape"}
    assert _spec("constexpr_lut_to_dense", IOS18).attributes == frozenset()
    assert _spec("constexpr_affine_dequantize", IOS18).attributes == {"quantized_data", "zero_point", "scale", "axis"}


# Changes


def test_new_parameters_come_with_their_defaults() -> None:
    first, second = changes("gather", IOS15, IOS18)
    assert first.opset is IOS16
    assert [(p.name, p.default) for p in first.added] == [("batch_dims", 0)]
    assert first.carries_over
    assert second.opset is IOS17
    assert [(p.name, p.default) for p in second.added] == [("validate_indices", False)]
    assert second.meaning is Meaning.NO_NEGATIVE_INDICES
    assert not second.carries_over


def test_changes_lie_between_the_opsets_asked_about() -> None:
    assert [c.opset for c in changes("topk", IOS16, IOS26)] == [IOS17]
    assert changes("topk", IOS17, IOS26) == []
    assert changes("resize", IOS15, IOS18) == []


def test_removed_parameters_are_named() -> None:
    (change,) = changes("non_maximum_suppression", IOS15, IOS17)
    assert [p.name for p in change.removed] == ["score_threshold"]
    assert change.meaning is Meaning.NMS


def test_a_widened_element_type_is_a_revision_that_carries_over() -> None:
    (change,) = changes("transpose", IOS16, IOS17)
    assert [p.name for p, _ in change.revised] == ["x"]
    assert change.carries_over


def test_all_that_does_not_carry_over_is_what_the_format_lists() -> None:
    broken = {(t, c.opset) for t in op_types(IOS26) for c in changes(t, IOS15, IOS26) if not c.carries_over}
    broken |= {(t, c.opset) for t in op_types(IOS26) for c in changes(t, IOS16, IOS26) if not c.carries_over}
    assert broken == {
        *((t, IOS17) for t in ("clip", "crop_resize", "non_maximum_suppression", "reshape")),
        *((t, IOS17) for t in ("gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd")),
        *((t, IOS18) for t in ("constexpr_cast", "constexpr_lut_to_dense", "constexpr_sparse_to_dense")),
    }


def test_only_listed_parameters_come_later() -> None:
    added = {(t, c.opset, p.name) for t in op_types(IOS26) for c in changes(t, IOS15, IOS26) for p in c.added}
    assert {(t, o, name) for t, o, name in added if t not in ("crop_resize",)} == {
        *((t, IOS16, "batch_dims") for t in ("gather", "gather_nd")),
        ("topk", IOS16, "sort"),
        ("topk", IOS16, "return_indices"),
        ("upsample_bilinear", IOS16, "half_pixel_centers"),
        *(
            (t, IOS17, "validate_indices")
            for t in ("gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd")
        ),
        ("reduce_argmax", IOS17, "output_dtype"),
        ("reduce_argmin", IOS17, "output_dtype"),
        ("topk", IOS17, "output_indices_dtype"),
        ("gru", IOS18, "reset_after"),
        ("gru", IOS18, "input_bias"),
    }


# Weights and their channels


def test_the_parameters_that_hold_weights() -> None:
    weights = {(t, p.name) for t in op_types(IOS26) for p in weight_params(t, IOS26)}
    recurrent = {(t, f"weight_{part}") for t in ("gru", "lstm", "rnn") for part in ("ih", "hh")}
    assert weights == recurrent | {
        ("lstm", "weight_ih_back"), ("lstm", "weight_hh_back"),
        ("conv", "weight"), ("conv_quantized", "weight"), ("conv_transpose", "weight"), ("linear", "weight"),
        ("matmul", "x"), ("matmul", "y"), ("einsum", "values"),
        ("gather", "x"), ("gather_along_axis", "x"), ("gather_nd", "x"),
    }  # fmt: skip


def _op(op_type: str, **operands: TensorType | Value | Const | tuple[TensorType, ...]) -> Op:
    def operand(given: Any) -> Any:
        return Op("source", {}, [("v", given)]).outputs[0] if isinstance(given, TensorType) else given

    held = {
        name: [operand(part) for part in given] if isinstance(given, tuple) else [operand(given)] for name, given in operands.items()
    }
    return Op(op_type, held, [("y", TensorType(FP32))])


def _t(*shape: int, dtype: DType = FP32) -> TensorType:
    return TensorType(dtype, shape)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("param", ["x", "y"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_channels_of_matmul_follow_its_transposes(param: str, transposed: bool, shape: tuple[int, ...]) -> None:
    op = _op("matmul", x=_t(*shape), y=_t(*shape), **{f"transpose_{param}": Const.of(transposed)})
    assert channel_axes(op, param) == _channels_of_coremltools("matmul", param, shape, {f"transpose_{param}": transposed})


@pytest.mark.parametrize(
    ("op_type", "param", "shape", "more"),
    [
        ("conv", "weight", (4, 8, 3, 3), {}),
        ("conv_transpose", "weight", (8, 4, 3, 3), {}),
        ("linear", "weight", (5, 3), {}),
        ("gather", "x", (5, 4), {}),
        ("lstm", "weight_ih", (16, 3), {}),
    ],
)
def test_channels_are_those_of_coremltools(op_type: str, param: str, shape: tuple[int, ...], more: dict[str, Any]) -> None:
    assert channel_axes(_op(op_type, **{param: _t(*shape)}), param) == _channels_of_coremltools(op_type, param, shape, more)


def _channels_of_coremltools(op_type: str, param: str, shape: tuple[int, ...], more: dict[str, Any]) -> tuple[int | None, int | None]:
    """The output and the input axis that coremltools' optimizer sees."""
    from coremltools.converters.mil.mil import Builder
    from coremltools.optimize._utils import select_input_output_channel_axis

    variables: list[Any] = []

    def constant(name: str, operand: Any) -> Any:
        if name != param:
            return None
        variables.append(Builder.const(val=np.ones(shape, np.float32)))
        return variables[0]

    sample = next(s for s in SAMPLES if s.op_type == op_type and param in s.operands)
    if op_type == "matmul":
        sample = Sample(op_type, {"x": X(shape), "y": X(shape), **more})
    build(sample, IOS18, constant)
    input_axis, output_axis = select_input_output_channel_axis(variables[0].op)
    return output_axis, input_axis


def test_einsum_finds_its_channels_in_the_equation() -> None:
    op = _op("einsum", values=(_t(2, 3, 4, 5), _t(2, 5, 4, 6)), equation=Const.of("nchw,nwhu->nchu"))
    assert channel_axes(op, "values", 0) == (1, 3)
    assert channel_axes(op, "values", 1) == (3, 1)


@pytest.mark.parametrize("equation", ["", "ab", "ab->ab", "a,b,c->abc", "->", ","])
def test_an_equation_of_another_kind_has_no_channels(equation: str) -> None:
    assert einsum_channels(equation, 1) == (None, None)


def test_a_vector_has_no_input_channel() -> None:
    assert channel_axes(_op("gather", x=_t(5)), "x") == (0, None)


def test_what_is_no_weight_has_no_channels() -> None:
    op = _op("linear", x=_t(2, 3), weight=TensorType(FP32, (UNKNOWN, 3)))
    assert channel_axes(op, "x") == (None, None)
    assert channel_axes(op, "bias") == (None, None)
    assert channel_axes(op, "weight", 1) == (None, None)
    assert channel_axes(_op("custom_thing", weight=_t(2, 3)), "weight") == (None, None)
