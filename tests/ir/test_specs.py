"""The op tables, compared with coremltools' registry row by row; and the look-ups over them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

from ir.const import Const
from ir.core import Op
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
from ir.types import FP16, FP32, TensorType

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
