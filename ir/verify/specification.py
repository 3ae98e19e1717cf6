"""The op tables, held against a program: parameters, element types, opsets, constexpr rules, result types.

What is not known is legal: op types without a row, parameters of theirs, opsets of unknown keys, attributes beside those that a row names.
No weight is read: data is looked at only where a result type depends on it, which shapes, axes and the like are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ir.core import Block, Function, Op, Operand, Program, Value
from ir.diagnostics import Problem
from ir.infer import Args, InferError, has_rank
from ir.opset import OPSETS, Opset
from ir.opsets.schema import OpSpec, Param
from ir.specs import changes, first_opset, spec_of
from ir.types import Dim, DType, ListType, StateType, TensorType, Type
from ir.verify import raise_problems
from ir.walk import opset_of, walk


def verify(checked: Program | Function | Block | Iterable[Op]) -> None:
    """Checks ops against their specification.

    Raises:
        InvalidProgramError: something is wrong; it says what, all of it.
    """
    raise_problems(problems(checked))


def problems(checked: Program | Function | Block | Iterable[Op]) -> list[Problem]:
    """What breaks its specification among the ops of a program, function or block, nested ones included, or among the ops given.

    An op that stands in no function has no opset, and is checked against nothing.
    """
    found: list[Problem] = []
    opsets: dict[Block | None, Opset | None] = {None: None}
    for op in walk(checked) if isinstance(checked, Program | Function | Block) else checked:
        block = op.block
        if block not in opsets:
            opsets[block] = opset_of(block)
        opset = opsets[block]
        if opset is not None:
            found.extend(_op_problems(op, opset))
    return found


def _op_problems(op: Op, opset: Opset) -> Iterator[Problem]:
    spec = spec_of(op.op_type, opset)
    if spec is None:
        first = first_opset(op.op_type)
        if first is not None:
            yield _problem(op, f"the op came with {first}, and the function is written for {opset}", _raise_to(first))
        return
    sound = True
    for problem in _operand_problems(op, spec, opset):
        sound = False
        yield problem
    if spec.outputs is not None and len(op.outputs) != spec.outputs:
        sound = False
        yield _problem(op, f"it has {_count(op.outputs, 'result')}, not {spec.outputs}")
    if len(op.blocks) != spec.blocks:
        sound = False
        yield _problem(op, f"it has {_count(op.blocks, 'nested block')}, not {spec.blocks}")
    if sound:
        yield from _result_problems(op, spec)
        check = _FURTHER.get(op.op_type)
        if check is not None:
            yield from check(op)


def _operand_problems(op: Op, spec: OpSpec, opset: Opset) -> Iterator[Problem]:
    operands, attributes = op.operands, op.attributes
    domains: dict[str, tuple[str, DType]] = {}
    for name, held in operands.items():
        param = spec.param(name)
        if param is None:
            yield _unknown(op, name, spec, opset)
        elif name in spec.attributes:
            yield _problem(op, f"{name} has to be an attribute in {opset}, not an operand")
        elif len(held) > 1 and not param.variadic:
            yield _problem(op, f"{name} takes one operand, not {len(held)}")
        else:
            for operand in held:
                yield from _problems_of_operand(op, param, operand, opset)
                yield from _domain_problems(op, param, operand.type, domains)
    for name in spec.attributes:
        held_value = attributes.get(name)
        param = spec.param(name)
        if held_value is not None and param is not None:
            yield from _type_problems(op, param, held_value.type)
            yield from _domain_problems(op, param, held_value.type, domains)
    for param in spec.params:
        name = param.name
        if param.optional or operands.get(name) or (param.variadic and name in operands):
            continue
        if name not in spec.attributes:
            yield _problem(op, f"the required parameter {name} is missing")
        elif name not in attributes:
            yield _problem(op, f"the required attribute {name} is missing")


def _problems_of_operand(op: Op, param: Param, operand: Operand, opset: Opset) -> Iterator[Problem]:
    yield from _type_problems(op, param, operand.type)
    source = operand.op if isinstance(operand, Value) else None
    if source is not None and source.op_type.startswith("constexpr_"):
        if param.constexpr is None:
            yield _problem(op, f"{param.name} cannot be the result of a constexpr op", "decompress it to a const")
        elif opset < param.constexpr:
            message = f"{param.name} can be the result of a constexpr op from {param.constexpr} on, and the function is written for {opset}"
            yield _problem(op, message, _raise_to(param.constexpr))
    elif param.const and isinstance(operand, Value) and (source is None or source.op_type != "const"):
        yield _problem(op, f"{param.name} has to be known at compile time, and {operand.name} is computed")


def _type_problems(op: Op, param: Param, found: Type) -> Iterator[Problem]:
    if param.kind == "tensor":
        if not isinstance(found, TensorType):
            yield _problem(op, f"{param.name} has to be a tensor, not {found!r}")
        elif found.dtype not in param.dtypes:
            accepted = ", ".join(dtype.name for dtype in param.dtypes)
            yield _problem(op, f"{param.name} cannot be {found!r}; it takes {accepted}")
    elif param.kind == "list" and not isinstance(found, ListType):
        yield _problem(op, f"{param.name} has to be a list, not {found!r}")
    elif param.kind == "state" and not isinstance(found, StateType):
        yield _problem(op, f"{param.name} has to be a state, not {found!r}")


def _domain_problems(op: Op, param: Param, found: Type, domains: dict[str, tuple[str, DType]]) -> Iterator[Problem]:
    if param.domain is None or not isinstance(found, TensorType):
        return
    name, dtype = domains.setdefault(param.domain, (param.name, found.dtype))
    if dtype is not found.dtype:
        yield _problem(op, f"{name} and {param.name} have to be of one element type, and are {dtype} and {found.dtype}")


def _result_problems(op: Op, spec: OpSpec) -> Iterator[Problem]:
    if spec.infer is None or not _ranks_are_known(op):
        return
    try:
        inferred = spec.infer(Args(spec, op.operands, op.attributes))
    except InferError as error:
        yield Problem(f"{_named(op)}: {str(error).removeprefix(f'{op.op_type}: ')}", op)
        return
    if len(inferred) != len(op.outputs):
        yield _problem(op, f"it has {_count(op.outputs, 'result')}, not {len(inferred)}")
        return
    for value, expected in zip(op.outputs, inferred, strict=True):
        if value.type is not expected and not agree(value.type, expected):
            yield _problem(op, f"{value.name} is declared as {value.type!r}, and its operands make it {expected!r}")


def _ranks_are_known(op: Op) -> bool:
    for held in op.operands.values():
        for operand in held:
            kind = operand.type
            if isinstance(kind, TensorType) and not has_rank(kind):
                return False
    return True


def agree(a: Type, b: Type) -> bool:
    """Whether some value can be of both types: they differ at most where one leaves a dimension, a rank or a length open."""
    if a is b:
        return True
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        if a.dtype is not b.dtype:
            return False
        if not has_rank(a) or not has_rank(b):
            return True
        return a.rank == b.rank and all(map(_dims_agree, a.shape, b.shape))
    if isinstance(a, ListType) and isinstance(b, ListType):
        return agree(a.element, b.element) and _dims_agree(a.length, b.length)
    if isinstance(a, StateType) and isinstance(b, StateType):
        return agree(a.wrapped, b.wrapped)
    return False


def _dims_agree(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))


def _sparse_problems(op: Op) -> Iterator[Problem]:
    """A mask keeps at most all elements."""
    for data_name, mask_name in (
        ("nonzero_data", "mask"), ("nonzero_data", "data_mask"), ("indices_nonzero_data", "indices_mask"),
    ):  # fmt: skip
        data, mask = op.get(data_name), op.get(mask_name)
        if data is None or mask is None or not isinstance(data.type, TensorType) or not isinstance(mask.type, TensorType):
            continue
        kept, all_elements = data.type.numel, mask.type.numel
        if kept is not None and all_elements is not None and kept > all_elements:
            yield _problem(op, f"{data_name} has {kept} elements, more than the {all_elements} of {mask_name}")


def _packed_sparse_problems(op: Op) -> Iterator[Problem]:
    """Below iOS18 the mask is a bit stream; the result has as many elements as it has bits that count."""
    data = op.attributes.get("nonzero_data")
    if data is None:
        yield from _sparse_problems(op)
        return
    result = op.outputs[0].type
    if isinstance(data.type, TensorType) and isinstance(result, TensorType):
        kept, all_elements = data.type.numel, result.numel
        if kept is not None and all_elements is not None and kept > all_elements:
            yield _problem(op, f"nonzero_data has {kept} elements, more than the {all_elements} of the result")


def _while_problems(op: Op) -> Iterator[Problem]:
    condition, body = op.blocks
    variables = op.operands.get("loop_vars", ())
    there_are = f"and the op has {_count(variables, 'loop variable')}"
    for block, what in ((condition, "condition"), (body, "body")):
        if len(block.inputs) != len(variables):
            yield _problem(op, f"its {what} takes {_count(block.inputs, 'value')}, {there_are}")
    if len(condition.outputs) != 1:
        yield _problem(op, f"its condition returns {_count(condition.outputs, 'value')}, not 1")
    if len(body.outputs) != len(variables):
        yield _problem(op, f"its body returns {_count(body.outputs, 'value')}, {there_are}")


def _cond_problems(op: Op) -> Iterator[Problem]:
    for block, what in zip(op.blocks, ("true", "false"), strict=True):
        if len(block.outputs) != len(op.outputs):
            returned = _count(block.outputs, "value")
            yield _problem(op, f"its {what} block returns {returned}, and the op has {_count(op.outputs, 'result')}")


_FURTHER: Final[Mapping[str, Callable[[Op], Iterator[Problem]]]] = {
    "constexpr_sparse_to_dense": _packed_sparse_problems,
    "constexpr_lut_to_sparse": _sparse_problems,
    "constexpr_sparse_blockwise_shift_scale": _sparse_problems,
    "while_loop": _while_problems,
    "cond": _cond_problems,
}
"""What a row of the tables cannot say."""


def _unknown(op: Op, name: str, spec: OpSpec, opset: Opset) -> Problem:
    for change in changes(op.op_type, spec.since, OPSETS[-1]):
        if any(param.name == name for param in change.added):
            return _problem(op, f"{name} came with {change.opset}, and the function is written for {opset}", _raise_to(change.opset))
    from difflib import get_close_matches  # only errors need it

    close = get_close_matches(name, [param.name for param in spec.params], 1)
    fix = f"did you mean {close[0]}?" if close else f"it has {', '.join(param.name for param in spec.params)}"
    return _problem(op, f"it has no parameter {name}", fix)


def _problem(op: Op, message: str, fix: str | None = None) -> Problem:
    return Problem(f"{_named(op)}: {message}", op, fix)


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _named(op: Op) -> str:
    return f"{op.op_type} {op.name}".rstrip()


def _raise_to(opset: Opset) -> str:
    return f"raise the opset to {opset} first"
