"""Building programs: ops from Python values, with inferred result types, free names, and a place to put them.

    with FunctionBuilder("main", {"x": TensorType(FP16, (1, 3, 224, 224))}, IOS16) as f:
        hidden = f.op("conv", x=f.inputs["x"], weight=kernel, strides=[2, 2], pad_type="same")
        f.outputs(y=f.op("relu", x=hidden))
    program = build_program(f)

An operand may be a value, an op (its only output), a literal, or whatever `Const.of` makes a literal of. Python values and arrays become
`const` ops, as in the files that coremltools writes; a `Const` stays an inline literal, which its loader accepts too. The operands of
constexpr ops are inline from iOS18 on and attributes before, and lists are inline, likewise as in real files. Parameters that are left
out and have a default are written out, since Core ML's runtime may miss what coremltools' loader fills in; `None` leaves one out for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, TypeAlias

import numpy as np

from ir.const import Const, Python
from ir.core import Block, Function, Op, Operand, Program, Value, constant_of
from ir.diagnostics import MLPassesError
from ir.infer import Args, has_rank
from ir.opset import IOS15, Opset, opset_of_key
from ir.opsets.schema import OpSpec, Param, PerSpatialDim
from ir.specs import first_opset, spec_of
from ir.tensors import Tensor
from ir.types import BOOL, FP32, STRING, DType, TensorType, Type
from ir.walk import opset_of

Given: TypeAlias = "Operand | Op | Tensor | Python | Sequence[Any] | None"
"""What stands for an operand; None for an optional one that is left out, its default too."""

_NO_IDENTIFIER: Final = re.compile(r"[^A-Za-z0-9_@]|^(?![A-Za-z_])")


class BuilderError(MLPassesError):
    """An op cannot be made of what was given. Nothing was changed."""


class Names:
    """Names that are free in a whole function, nested blocks included, so that no scope hides another's value.

    Counting goes on where it stopped, and over names that were there before in growing steps: a name costs a few look-ups.
    """

    __slots__ = ("_around", "_block", "_counters")

    def __init__(self, block: Block, around: Names | None = None) -> None:
        """`around` has the names of what `block`, still detached, is going to be nested in."""
        self._block = block
        self._around = around
        self._counters: dict[str, int] = {} if around is None else around._counters

    def is_taken(self, name: str) -> bool:
        """Whether a value of the function, or of the tree of blocks that is not in one yet, is called `name`."""
        top, parent = self._block, self._block.parent
        while isinstance(parent, Op) and parent.block is not None:
            top = parent.block
            parent = top.parent
        if isinstance(parent, Function) and name in parent._names:
            return True
        pending = [top]
        while pending:
            block = pending.pop()
            if name in block._names:
                return True
            pending.extend(nested for op in block._nesting for nested in op.blocks)
        return self._around is not None and self._around.is_taken(name)

    def fresh(self, base: str) -> str:
        """A free name that is `base`, or starts with it. What no identifier may hold becomes `_`."""
        base = _NO_IDENTIFIER.sub("_", base)
        number = self._counters.get(base)
        if number is None:
            number = 0
            if not self.is_taken(base):
                self._counters[base] = 0
                return base
        step = 1
        while self.is_taken(f"{base}_{number}"):
            number += step
            step *= 2
        self._counters[base] = number + 1
        return f"{base}_{number}"


class Builder:
    """Makes ops and puts them at the end of a block, or before or after an op; several in the order in which they are made.

    `origin` is noted in the ops made. `opset`, where not given, is that of the specialization that the block is in.
    """

    def __init__(
        self, block: Block, *, opset: Opset | None = None, origin: object = None, names: Names | None = None
    ) -> None:
        self.block = block
        self.opset = opset if opset is not None else opset_of(block)
        self.origin = origin
        self.names = names if names is not None else Names(block)
        around = block.parent
        self.inputs: Mapping[str, Value] = {
            value.name: value for value in (around.inputs if isinstance(around, Function) else block.inputs)
        }
        """The inputs by name: of the block or, where it is a function's, of the function."""
        self._before: Op | None = None
        self._after: Op | None = None

    @classmethod
    def before(cls, op: Op, *, origin: object = None, names: Names | None = None) -> Builder:
        """Puts ops just before `op`."""
        builder = Builder(_block_of(op), origin=origin, names=names)
        builder._before = op
        return builder

    @classmethod
    def after(cls, op: Op, *, origin: object = None, names: Names | None = None) -> Builder:
        """Puts ops just after `op`: the first one directly, each other after the one made before it."""
        builder = Builder(_block_of(op), origin=origin, names=names)
        builder._after = op
        return builder

    def fresh(self, base: str) -> str:
        """A free name that is `base`, or starts with it."""
        return self.names.fresh(base)

    def op(
        self,
        op_type: str,
        /,
        *,
        name: str | None = None,
        type: Type | None = None,  # noqa: A002
        outputs: Iterable[tuple[str, Type]] | None = None,
        attributes: Mapping[str, Const] | None = None,
        blocks: Sequence[Block | Builder] = (),
        **operands: Given,
    ) -> Op:
        """Makes an op and puts it at the insertion point, behind `const` ops for its Python operands.

        `name` is the name of the op and of its result (`name_0`, `name_1`, … where it has several), free in the function; one made from
        the op's type where it is not given. Result types are inferred, unless `type` states that of the only result, or `outputs` the
        names and types of all.

        Raises:
            BuilderError: the name is taken, an operand stands for nothing, or the result types are not known.
            InferError: the operands do not fit together.
        """
        spec = spec_of(op_type, self.opset) if self.opset is not None else None
        op_name = self._free(name) if name is not None else self.names.fresh(op_type)
        made = _Operands(self, op_type, op_name, spec, operands)
        held_attributes = {**made.attributes, **(attributes or {})}
        held_attributes.setdefault("name", Const.of(op_name))
        if outputs is None:
            types = (type,) if type is not None else self._infer(op_type, spec, made.operands, held_attributes)
            several = len(types) > 1
            outputs = [(self._free(f"{op_name}_{i}") if several else op_name, kind) for i, kind in enumerate(types)]
        else:
            outputs = [(self._free(given), kind) for given, kind in outputs]
        nested = [block.block if isinstance(block, Builder) else block for block in blocks]
        op = Op(op_type, made.operands, outputs, held_attributes, nested)
        for const in made.consts:
            self.insert(const)
        return self.insert(op)

    def const(self, value: Python | Tensor | Const, *, name: str | None = None, dtype: DType | None = None) -> Value:
        """The output of a new `const` op, which holds `value` as its attribute `val`. `dtype` converts Python numbers."""
        return self.insert(self._const(value, self._free(name) if name is not None else self.names.fresh("const"), dtype)).output

    def insert(self, op: Op) -> Op:
        """Puts a detached op at the insertion point; answers with it.

        Raises:
            MutationError: the op stands in a block, or a name that it defines is taken.
        """
        if self._before is not None:
            self.block.insert_before(self._before, op)
        elif self._after is not None:
            self.block.insert_after(self._after, op)
            self._after = op
        else:
            self.block.append(op)
        if op.origin is None:
            op.origin = self.origin
        return op

    @contextmanager
    def nested(self, inputs: Mapping[str, Type] | None = None) -> Iterator[Builder]:
        """A builder of a detached block, to be given to `op` as one of its `blocks`; the block may use what is visible here.

        Where the `with` statement is left by an exception, the block lets go of all that it uses.
        """
        named = {key: (self.names.fresh(key), kind) for key, kind in (inputs or {}).items()}
        block = Block(named.values())
        builder = Builder(block, opset=self.opset, origin=self.origin, names=Names(block, self.names))
        builder.inputs = dict(zip(named, block.inputs, strict=True))
        try:
            yield builder
        except BaseException:
            block.set_outputs([])
            block.erase(list(block))
            raise

    def outputs(self, *values: Value | Op, **named: Value | Op) -> None:
        """Lets the block return these values; those given by keyword are renamed to it."""
        for name, value in named.items():
            _value_of(value).rename(name)
        self.block.set_outputs([_value_of(value) for value in (*values, *named.values())])

    def _const(self, value: Python | Tensor | Const, name: str, dtype: DType | None = None) -> Op:
        literal = value if isinstance(value, Const) else Const.of(value, dtype)
        return Op("const", {}, [(name, literal.type)], {"name": Const.of(name), "val": literal})

    def _free(self, name: str) -> str:
        if self.names.is_taken(name):
            raise BuilderError(f"the name {name} is taken in the function: leave it out, or use fresh({name!r})")
        return name

    def _infer(
        self, op_type: str, spec: OpSpec | None, operands: Mapping[str, tuple[Operand, ...]], attributes: Mapping[str, Const]
    ) -> tuple[Type, ...]:
        if spec is not None and spec.infer is not None:
            return spec.infer(Args(spec, operands, attributes))
        first = first_opset(op_type)
        if spec is None and first is not None and self.opset is not None:
            raise BuilderError(f"{op_type} came with {first}, and the function is written for {self.opset}: raise the opset first")
        raise BuilderError(f"the results of {op_type} are not known: state them with type= or outputs=")


class FunctionBuilder(Builder):
    """Builds a function of one specialization. `inputs` are its inputs by name, `outputs` sets what it returns."""

    def __init__(self, name: str = "main", inputs: Mapping[str, Type] | None = None, opset: Opset = IOS15) -> None:
        self.function = Function(name, (inputs or {}).items(), opset.key)
        block = Block()
        self.function.add_block(opset.key, block)
        super().__init__(block, opset=opset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is left to do: the `with` statement is there to show where the function ends."""


def build_program(*functions: FunctionBuilder | Function) -> Program:
    """A program of these functions, whose specification version is the least that their opsets need."""
    made = [function.function if isinstance(function, FunctionBuilder) else function for function in functions]
    opsets = [opset for function in made for key in function.specializations if (opset := opset_of_key(key)) is not None]
    return Program(made, spec_version=max((opset.spec_version for opset in opsets), default=IOS15.spec_version))


class _Operands:
    """The operands, attributes and new const ops that stand for what was given."""

    def __init__(self, builder: Builder, op_type: str, op_name: str, spec: OpSpec | None, given: Mapping[str, Given]) -> None:
        self.builder = builder
        self.op_name = op_name
        self.op_type = op_type
        self.spec = spec
        self.operands: dict[str, tuple[Operand, ...]] = {}
        self.attributes: dict[str, Const] = {}
        self.consts: list[Op] = []
        self.inline = op_type.startswith("constexpr_")
        self.domains: dict[str, DType] = {}
        self.first: DType | None = None
        params = {name: spec.param(name) if spec is not None else None for name in given}
        for name, value in given.items():
            for part in value if isinstance(value, list | tuple) else (value,):
                self._note_dtype(params[name], part)
        for name, value in given.items():
            if value is not None:
                self._add(name, params[name], value)
        if spec is not None:
            self._add_defaults(spec, given)

    def _add_defaults(self, spec: OpSpec, given: Mapping[str, Given]) -> None:
        for param in spec.params:
            default = param.default
            if isinstance(default, PerSpatialDim):
                x = self.operands["x"][0].type if "x" in self.operands else None
                default = default.at(x.rank) if isinstance(x, TensorType) and has_rank(x) else None
            if param.optional and default is not None and param.name not in given and self._is_wanted(param):
                self._add(param.name, param, default)

    def _is_wanted(self, param: Param) -> bool:
        """Whether a parameter may be there: not where the truth value that it goes with is false."""
        held = self.operands.get(param.only_with) if param.only_with is not None else None
        literal = constant_of(held[0]) if held else None
        return literal is None or literal.scalar() is not False

    def _note_dtype(self, param: Param | None, given: Any) -> None:
        """What has an element type of its own decides about that of the Python numbers beside it."""
        dtype = _own_dtype(given)
        if dtype is None:
            return
        if param is not None and param.domain is not None:
            self.domains.setdefault(param.domain, dtype)
        if self.first is None and dtype.is_float:
            self.first = dtype

    def _add(self, name: str, param: Param | None, given: Given) -> None:
        if self.spec is not None and name in self.spec.attributes:
            self.attributes[name] = self._as_attribute(name, param, given)
        elif param is not None and param.kind == "list" and isinstance(given, list | tuple):
            items = [Const.of(item) for item in given]
            self.operands[name] = (Const.list_of(items, items[0].type if items else TensorType(STRING)),)
        elif isinstance(given, list | tuple) and (
            (param is not None and param.variadic) or any(isinstance(part, Value | Const | Op) for part in given)
        ):
            self.operands[name] = tuple([self._operand(f"{name}_{i}", param, part) for i, part in enumerate(given)])
        else:
            self.operands[name] = (self._operand(name, param, given),)

    def _operand(self, name: str, param: Param | None, given: Any) -> Operand:
        if isinstance(given, Value | Const):
            return given
        if isinstance(given, Op):
            return given.output
        literal = self._literal(name, param, given)
        if self.inline:
            return literal
        const = self.builder._const(literal, self.builder.fresh(f"{self.op_name}_{name}"))
        self.consts.append(const)
        return const.output

    def _as_attribute(self, name: str, param: Param | None, given: Any) -> Const:
        if isinstance(given, Value | Const | Op):
            literal = constant_of(given.output if isinstance(given, Op) else given)
            if literal is None:
                raise BuilderError(f"{name} of {self.op_type} is an attribute, so it has to be a literal or a const, and it is computed")
            return literal
        return self._literal(name, param, given)

    def _literal(self, name: str, param: Param | None, given: Any) -> Const:
        try:
            return Const.of(given, None if isinstance(given, np.ndarray | np.generic | Tensor) else self._dtype_for(param, given))
        except (TypeError, ValueError, OverflowError) as error:
            raise BuilderError(f"{name} of {self.op_type} cannot be {given!r}: {error}") from error

    def _dtype_for(self, param: Param | None, given: Any) -> DType | None:
        """The element type that a Python value becomes: its domain's, else that of the op's float operands, else its own, else any."""
        if param is None or not param.dtypes:
            return None
        own = None if _is_empty(given) else Const.of(given).tensor.dtype
        follows = own is FP32 or own not in param.dtypes  # an int where ints are accepted is meant as one
        wanted = (self.domains.get(param.domain or ""), self.first if follows else None, own, FP32, *param.dtypes)
        fitting = (d for d in wanted if d is not None and d in param.dtypes and (own is None or _holds(d, own)))
        return next(fitting, own)


def _own_dtype(given: Any) -> DType | None:
    """The element type of what is no Python value."""
    if isinstance(given, Op):
        given = given.output
    if isinstance(given, Value | Const):
        return given.type.dtype if isinstance(given.type, TensorType) else None
    if isinstance(given, np.ndarray | np.generic | Tensor):
        return Const.of(given).tensor.dtype
    return None


def _is_empty(given: Any) -> bool:
    return isinstance(given, list | tuple) and np.size(given) == 0


def _holds(dtype: DType, own: DType) -> bool:
    """Whether a Python value whose own type is `own` may become `dtype`: an int also a float, otherwise only its like."""
    if own is BOOL or own is STRING:
        return dtype is own
    return dtype.is_float or (own is not FP32 and dtype.is_integer)


def _value_of(value: Value | Op) -> Value:
    return value.output if isinstance(value, Op) else value


def _block_of(op: Op) -> Block:
    if op.block is None:
        raise BuilderError(f"{op.op_type} {op.name} stands in no block, so nothing can be put beside it")
    return op.block
