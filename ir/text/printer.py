"""IR → text. See docs/textual-form.md for the grammar; `ir.text.parser` reads it back.

The text is a function of what a program means: maps print sorted (parameters in the order of the op tables), literals print by their
bits. Only where a literal stands decides, beside its size, whether it prints in place or as a resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from attrs import frozen

from ir.collector import collector_paused
from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.opset import OPSETS, Opset, opset_of_key
from ir.specs import spec_of
from ir.tensors import Tensor
from ir.text.literal_printer import MAX_DEPTH, LiteralPrinter, is_string, too_deep
from ir.text.words import quote, value_name, word
from ir.types import Type

INDENT: Final = "  "
NAME: Final = "name"
VAL: Final = "val"

Scope: TypeAlias = dict[str, list[Value]]


@frozen
class Text:
    """A program as text, and the tensors that it names: `parse(printed.text, printed.resources)` gives the program back."""

    text: str
    resources: Mapping[str, Tensor]

    def __str__(self) -> str:
        return self.text


def to_text(program: Program, *, inline: bool = False) -> Text:
    """A program as text.

    Tensors of more than `INLINE_ELEMENTS` elements, and all that lie in a file, are resources: the text names them, `Text.resources` holds
    them. With `inline`, none is: the text holds their bytes, and can be read without anything else (bug reports, small goldens).

    Raises:
        MLPassesError: blocks, types or literals nest deeper than `MAX_DEPTH`.
    """
    printer = _Printer(inline=inline)
    lines: list[str] = []
    with collector_paused():
        printer.program(program, lines)
    return Text("\n".join(lines) + "\n", printer.literals.resources)


def print_program(program: Program) -> str:
    """The text of a program; see `to_text` for the tensors that it names."""
    return to_text(program).text


def print_function(function: Function) -> str:
    """The text of a function."""
    lines: list[str] = []
    _Printer().function(function, "", lines)
    return "\n".join(lines)


def print_block(block: Block) -> str:
    """The text of a block: `block(inputs) { … }`. Values from outside it go by their names."""
    lines = ["block"]
    _Printer(open_scope=True, opset=_opset_of(block.function)).block(block, "", lines)
    return "\n".join(lines)


def print_op(op: Op) -> str:
    """The text of an op, nested blocks included. Operands go by their names."""
    lines: list[str] = []
    _Printer(open_scope=True, opset=_opset_of(op.function)).op(op, "", lines)
    return "\n".join(lines)


def print_const(const: Const) -> str:
    """The text of a literal; a long tensor is a resource by the name of `literal`."""
    return LiteralPrinter().literal(const, "literal")


def print_type(type: Type) -> str:  # noqa: A002
    """The text of a type."""
    return LiteralPrinter().type(type)


def print_neighbourhood(op: Op, before: int = 3, after: int = 3) -> str:
    """An op between the ops around it in its block, for error messages: an arrow at the op, whose operands have their types.

    Nested blocks are left out. O(before + after).

        in main<CoreML8>:
            %a: fp16[4] = relu(x=%x)
        --> %b: fp16[4] = add(x=%a: fp16[4], y=2.0)
            %c: fp16[4] = exp(x=%b)
    """
    above: list[Op] = []
    at = op.previous
    while at is not None and len(above) < before:
        above.append(at)
        at = at.previous
    below: list[Op] = []
    at = op.next
    while at is not None and len(below) < after:
        below.append(at)
        at = at.next
    printer = _Printer(open_scope=True, opset=_opset_of(op.function))
    lines = [f"in {place}:"] if (place := _place_of(op)) else []
    lines += [f"    {printer.headline(o)}" for o in reversed(above)]
    lines.append(f"--> {printer.headline(op, typed=True)}")
    lines += [f"    {printer.headline(o)}" for o in below]
    return "\n".join(lines)


def _place_of(op: Op) -> str:
    """Where an op stands, outermost first: `main<CoreML8>, block 1 of while_loop y`."""
    steps: list[str] = []
    block = op.block
    while block is not None:
        parent = block.parent
        if isinstance(parent, Function):
            key = next((key for key, b in parent.specializations.items() if b is block), parent.opset)
            steps.append(f"{word(parent.name)}<{word(key)}>")
            break
        if parent is None:
            break
        index = next(i for i, b in enumerate(parent.blocks) if b is block)
        steps.append(f"block {index} of {word(parent.op_type)} {parent.name}".rstrip())
        block = parent.block
    return ", ".join(reversed(steps))


def _leave_a_line(lines: list[str]) -> None:
    if not lines[-1].endswith("{"):
        lines.append("")


def _opset_of(function: Function | None) -> Opset:
    return (opset_of_key(function.opset) if function is not None else None) or OPSETS[-1]


class _Printer:
    """What one text shares: its literals, the orders of parameters, and the scopes around the current op.

    `open_scope` is for parts of a program: values that no scope holds then print by their names, rather than marked as out of place.
    """

    def __init__(self, *, inline: bool = False, open_scope: bool = False, opset: Opset = OPSETS[-1]) -> None:
        self.literals = LiteralPrinter(inline=inline)
        self._literal = self.literals.literal
        self._type = self.literals.type
        self._open = open_scope
        self._opset = opset
        self._scope: Scope = {}
        self._depth = 0
        self._orders: dict[tuple[str, Opset, tuple[str, ...]], tuple[tuple[str, str], ...]] = {}
        self._names: dict[str, str] = {}

    # programs and functions

    def program(self, program: Program, lines: list[str]) -> None:
        lines.append(f"program{self._program_header(program)}")
        self._program_items(program, "", lines)

    def _program_header(self, program: Program) -> str:
        version = "" if program.format_version == 1 else f" format_version {program.format_version}"
        doc = f" doc {quote(program.doc)}" if program.doc else ""
        return f" spec_version {program.spec_version}{version}{doc}"

    def _program_items(self, program: Program, indent: str, lines: list[str]) -> None:
        for name, value in sorted(program.attributes.items()):
            lines.append(f"{indent}attribute {word(name)} = {self._literal(value, name)}")
        for name, text in sorted(program.metadata.items()):
            lines.append(f"{indent}metadata {quote(name)} = {quote(text)}")
        for _, function in sorted(program.functions.items()):
            _leave_a_line(lines)
            self.function(function, indent, lines)
        for position, stage in sorted(program.stages.items()):
            _leave_a_line(lines)
            lines.append(f"{indent}stage {'/'.join(map(str, position))}{self._program_header(stage)} {{")
            self._enter()
            self._program_items(stage, indent + INDENT, lines)
            self._leave()
            lines.append(f"{indent}}}")

    def function(self, function: Function, indent: str, lines: list[str]) -> None:
        inputs = ", ".join([f"%{self._name(v.name)}: {self._type(v.type)}" for v in function.inputs])
        attributes = self._attributes(function.attributes, function.name)
        lines.append(f"{indent}func {word(function.name)}<{word(function.opset)}>({inputs}){attributes}")
        self._define(function.inputs)
        blocks = function.specializations
        only = blocks.get(function.opset) if len(blocks) == 1 else None
        if only is not None and not only.inputs and not only.attributes:
            self._opset = opset_of_key(function.opset) or OPSETS[-1]
            self.block(only, indent, lines)
        else:
            for key, block in sorted(blocks.items()):
                lines[-1] += f" block {word(key)}"
                self._opset = opset_of_key(key) or OPSETS[-1]
                self.block(block, indent, lines)
        self._undefine(function.inputs)

    # blocks and ops

    def block(self, block: Block, indent: str, lines: list[str]) -> None:
        """Appends a block; its opening goes on the last line there is."""
        self._enter()
        inputs = ", ".join([f"%{self._name(v.name)}: {self._type(v.type)}" for v in block.inputs])
        lines[-1] += f"{f'({inputs})' if inputs else ''}{self._attributes(block.attributes, 'block')} {{"
        self._define(block.inputs)
        inner = indent + INDENT
        at = block.first
        while at is not None:
            self.op(at, inner, lines)
            self._define(at.outputs)
            at = at.next
        lines.append(f"{inner}return {', '.join([self._value(v) for v in block.outputs])}".rstrip())
        at = block.last
        while at is not None:
            self._undefine(at.outputs)
            at = at.previous
        self._undefine(block.inputs)
        lines.append(f"{indent}}}")
        self._leave()

    def op(self, op: Op, indent: str, lines: list[str]) -> None:
        lines.append(f"{indent}{self.headline(op)}")
        for block in op.blocks:
            lines[-1] += " block"
            self.block(block, indent, lines)

    def headline(self, op: Op, *, typed: bool = False) -> str:
        """An op without its blocks; where `typed`, operands are followed by their types (for people, not for the parser)."""
        outputs = op.outputs
        attributes = op.attributes
        base = outputs[0].name if outputs else op.op_type
        if op.op_type == "const" and VAL in attributes and len(outputs) == 1 and not op.operands:
            operands = self._literal(attributes[VAL], base, expected=outputs[0].type)
            attributes = {name: value for name, value in attributes.items() if name != VAL}
        else:
            operands = self._operands(op, base, typed)
        suffix = ""
        if outputs:
            named = attributes.get(NAME)
            if named is None:
                suffix = " unnamed"
            elif is_string(named, outputs[0].name):
                attributes = {name: value for name, value in attributes.items() if name != NAME} if len(attributes) > 1 else {}
        shown = self._attributes(attributes, base) if attributes else ""
        head = ", ".join([f"%{self._name(v.name)}: {self._type(v.type)}" for v in outputs])
        return f"{head}{' = ' if head else ''}{word(op.op_type)}({operands}){shown}{suffix}"

    def _operands(self, op: Op, base: str, typed: bool) -> str:
        held = op.operands
        parts = []
        for parameter, shown in self._order(op.op_type, tuple(held)):
            operands = held[parameter]
            if len(operands) == 1:
                parts.append(f"{shown}={self._operand(operands[0], f'{base}.{parameter}', typed)}")
            else:
                several = [self._operand(v, f"{base}.{parameter}.{i}", typed) for i, v in enumerate(operands)]
                parts.append(f"{shown}=({', '.join(several)})")
        return ", ".join(parts)

    def _operand(self, operand: Operand, base: str, typed: bool) -> str:
        if isinstance(operand, Const):
            return self._literal(operand, base)
        return f"{self._value(operand)}: {self._type(operand.type)}" if typed else self._value(operand)

    def _order(self, op_type: str, parameters: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """The parameters in the order of the op's row, others after them by name; each with its text."""
        key = (op_type, self._opset, parameters)
        found = self._orders.get(key)
        if found is None:
            row = spec_of(op_type, self._opset)
            ranks = {param.name: rank for rank, param in enumerate(row.params)} if row is not None else {}
            ordered = sorted(parameters, key=lambda name: (ranks.get(name, len(ranks)), name))
            found = self._orders[key] = tuple([(name, word(name)) for name in ordered])
        return found

    def _attributes(self, attributes: Mapping[str, Const], base: str) -> str:
        if not attributes:
            return ""
        shown = [f"{word(name)}={self._literal(value, f'{base}.{name}')}" for name, value in sorted(attributes.items())]
        return f"[{', '.join(shown)}]"

    # values

    def _name(self, name: str) -> str:
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = value_name(name)
        return found

    def _value(self, value: Value) -> str:
        """`%x`; `%^x` where a nearer scope has an x too, one ^ for each; `%?x` where no scope has it, so that the parser refuses it."""
        name = value.name
        visible = self._scope.get(name, ())
        if visible and visible[-1] is value:
            return f"%{self._name(name)}"
        for distance, other in enumerate(reversed(visible)):
            if other is value:
                return f"%{'^' * distance}{self._name(name)}"
        return f"%{'^' * len(visible) if self._open else '?'}{self._name(name)}"

    def _define(self, values: Sequence[Value]) -> None:
        scope = self._scope
        for value in values:
            scope.setdefault(value.name, []).append(value)

    def _undefine(self, values: Sequence[Value]) -> None:
        for value in values:
            visible = self._scope[value.name]
            visible.pop()
            if not visible:
                del self._scope[value.name]

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep()

    def _leave(self) -> None:
        self._depth -= 1
