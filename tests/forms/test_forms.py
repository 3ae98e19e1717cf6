"""A form is one thing, told in three ways: as data, as ops, and as the numbers that it stands for."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ir.constexprs import chain, evaluate
from ir.opset import IOS18, IOS26, Opset
from ir.schemes import stored_tensors
from ir.tensors import Array
from ir.types import FP16, FP32, INT8, UINT8
from ir.verify import specification, structure
from mlpasses.forms.canonical import canonical
from mlpasses.forms.decoding import decoded
from mlpasses.forms.form import Form
from mlpasses.forms.recognition import form_of
from tests.forms.samples import BITS, INTEGERS, OFFSETS, Entries, Spec, emitted, program_of, same_form, specs
from tests.oracle import decompressed_values, same_bits

opsets = st.sampled_from((IOS18, IOS26))


@given(specs(), opsets)
def test_ops_are_read_back_as_the_form_that_they_were_written_from(spec: Spec, opset: Opset) -> None:
    read = form_of(emitted(spec, opset)[-1])
    assert isinstance(read, Form)
    assert same_form(read, spec.form())


@given(specs())
def test_decoding_a_form_is_evaluating_its_ops(spec: Spec) -> None:
    assert same_bits(decoded(spec.form()), evaluate(emitted(spec)[-1])[0].numpy())


@given(specs())
def test_ops_are_as_the_op_tables_have_them(spec: Spec) -> None:
    program = program_of({"w": (spec.form(), spec.shape, spec.dtype)}, IOS18)
    structure.verify(program)
    specification.verify(program)


@given(specs())
def test_the_bytes_of_a_form_are_those_of_its_ops(spec: Spec) -> None:
    assert spec.form().nbytes(IOS18) == sum(tensor.nbytes for tensor in stored_tensors(chain(emitted(spec)[-1])))


@given(specs())
def test_a_fp32_weight_in_fp16_numbers_is_cast_last_and_read_back(spec: Spec) -> None:
    ops = emitted(spec, dtype=FP32)
    if spec.dtype is FP16:
        assert ops[-1].op_type == "constexpr_cast"
    read = form_of(ops[-1])
    assert isinstance(read, Form)
    assert same_form(read, spec.form())
    assert evaluate(ops[-1])[0].dtype is FP32


@given(specs(), opsets)
def test_the_canonical_form_is_the_same_weight_bit_for_bit(spec: Spec, opset: Opset) -> None:
    form = spec.form()
    assert same_bits(decoded(canonical(form, opset)), decoded(form))


@given(specs(), opsets)
def test_the_canonical_form_of_a_canonical_form_is_itself(spec: Spec, opset: Opset) -> None:
    once = canonical(spec.form(), opset)
    assert canonical(once, opset) is once


@given(specs())
def test_the_canonical_form_of_one_opset_leads_to_that_of_the_other(spec: Spec) -> None:
    new = canonical(spec.form(), IOS26)
    old = canonical(spec.form(), IOS18)
    if spec.values == "indices" and spec.entries == "scaled":
        assert same_form(canonical(canonical(old, IOS26), IOS18), old)
        assert same_form(canonical(canonical(new, IOS18), IOS26), new)


def test_there_are_forms_with_an_order_of_ops_for_each_opset() -> None:
    forms = [spec.form() for spec in KINDS.values()]
    assert sum(canonical(form, IOS18) is not form for form in forms) >= 20
    assert sum(canonical(form, IOS26) is not form for form in forms) >= 8


# Against coremltools, many forms in one package


ENTRIES_BEHIND: Final[tuple[tuple[Entries, bool], ...]] = (("floats", True), ("integers", True), ("scaled", False), ("scaled", True))
"""What the entries of tables are, and whether there is a scale behind."""


def kinds() -> dict[str, Spec]:
    """A spec of every kind, by what it is; every third one is fp32."""
    masks = (False, True)
    found = [Spec("floats", masked=True), Spec("floats", masked=True, scales=(1, 2), rows=(5, 3))]
    found += [
        Spec("integers", masked, data=data, offset=offset, scales=scales)
        for masked, data, offset, scales in product(masks, INTEGERS, OFFSETS[:2], ((1, 1), (3, 1), (2, 2)))
    ]
    found += [
        Spec("indices", masked, nbits=nbits, tables=tables, vector=vector, axis=axis)
        for masked, nbits, tables, (vector, axis) in product(masks, BITS, ((1, 1), (2, 1)), ((1, 0), (2, 0), (4, 1)))
    ]
    found += [
        Spec("indices", masked, data=data, offset=offset, entries=entries, tables=tables, scales=scales, behind=behind, vector=vector)
        for masked, (data, offset), (entries, behind), tables, scales, vector in product(
            masks, zip((INT8, UINT8), OFFSETS, strict=False), ENTRIES_BEHIND, ((1, 1), (2, 1)), ((1, 1), (1, 3), (4, 1)), (1, 2)
        )
        if behind or scales == (1, 1)
    ]  # fmt: skip
    return {f"w{at}": evolve(each, dtype=FP16 if at % 3 else FP32) for at, each in enumerate(found)}


KINDS: Final = kinds()


def differing(expected: dict[str, Array], path: Path) -> list[str]:
    theirs = decompressed_values(path)
    return [f"{name}: {KINDS[name]}" for name, value in expected.items() if not same_bits(value, theirs[name])]


def test_coremltools_decodes_every_kind_to_the_same_bits(tmp_path: Path) -> None:
    program = program_of({name: (spec.form(), spec.shape, spec.dtype) for name, spec in KINDS.items()}, IOS18)
    path = program.save(tmp_path / "kinds.mlpackage")
    assert not differing({name: decoded(spec.form()) for name, spec in KINDS.items()}, path)


@pytest.mark.parametrize("opset", [IOS18, IOS26], ids=repr)
def test_coremltools_decodes_every_canonical_form_to_the_same_bits(opset: Opset, tmp_path: Path) -> None:
    program = program_of({name: (canonical(spec.form(), opset), spec.shape, spec.dtype) for name, spec in KINDS.items()}, opset)
    path = program.save(tmp_path / "kinds.mlpackage")
    assert not differing({name: decoded(spec.form()) for name, spec in KINDS.items()}, path)


def test_coremltools_casts_every_kind_to_the_same_bits(tmp_path: Path) -> None:
    halves = {name: spec for name, spec in list(KINDS.items())[1::3] if spec.dtype is FP16}
    path = program_of({name: (spec.form(), spec.shape, FP32) for name, spec in halves.items()}, IOS18).save(tmp_path / "kinds.mlpackage")
    assert not differing({name: decoded(spec.form()).astype("float32") for name, spec in halves.items()}, path)
