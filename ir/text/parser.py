"""Text → IR. See docs/textual-form.md for the grammar; `ir.text.printer` writes it.

A recursive descent over a list of tokens, in one pass: a name means what the nearest scope has defined so far. Whatever the text, only
`ParseError` is raised, nesting is bounded, and nothing is allocated that the text does not pay for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, NoReturn, TypeAlias

from ir.collector import collector_paused
from ir.const import Const
from ir.core import Block, Function, Op, Operand, Program, Value
from ir.diagnostics import MutationError
from ir.opset import IOS18, opset_of_key
from ir.tensors import Tensor
from ir.text.lexer import END
from ir.text.literal_parser import LiteralParser, string_const
from ir.text.literal_printer import MAX_DEPTH
from ir.text.printer import NAME, VAL
from ir.text.words import unquote, value_name
from ir.types import Type

SUGGESTED: Final = 2000
"""In a scope of more names than this, an undefined one gets no suggestion: comparing takes 5 µs a name."""
Resources: TypeAlias = Mapping[str, Tensor]


def parse(text: str, resources: Resources | None = None) -> Program:
    """The program that a text means: the inverse of `to_text`.

    `resources` are the tensors that the text names; the program holds these very objects.

    Raises:
        ParseError: the text is malformed, with line and column; or it names a resource that was not given.
    """
    with collector_paused():
        return _Parser(text, resources).whole_program()


def parse_fragment(text: str, resources: Resources | None = None, *, opset: str = IOS18.key) -> Program:
    """A program with one function `main` out of bare ops: the inputs that they use, the ops, and what is returned.

        inputs %x: fp16[4]
        %a: fp16[4] = relu(x=%x)
        %y: fp16[4] = exp(x=%a)
        return %y

    Without `inputs` there are none; without `return` the outputs of the last op are returned.

    Raises:
        ParseError: the text is malformed, or uses a value that it does not declare.
    """
    with collector_paused():
        return _Parser(text, resources).fragment(opset)


def parse_function(text: str, resources: Resources | None = None) -> Function:
    """A detached function. Raises as `parse` does."""
    parser = _Parser(text, resources)
    function = parser.function()
    parser.end("after the function")
    return function


def parse_block(text: str, outer: Iterable[Value] = (), resources: Resources | None = None) -> Block:
    """A detached block, as `print_block` shows it; it may use the values of `outer`, of which later ones hide earlier ones.

    Raises:
        ParseError: the text is malformed; then no value of `outer` has a new use.
    """
    values = list(outer)
    parser = _Parser(text, resources)
    stand_ins = [Block([(value.name, value.type)]).inputs[0] for value in values]
    for value in stand_ins:
        parser.define(value_name(value.name), value)
    if parser.tokens[0] == "block":
        parser.at += 1
    block = parser.block()
    parser.end("after the block")
    return block.clone(dict(zip(stand_ins, values, strict=True)))


def parse_const(text: str, resources: Resources | None = None) -> Const:
    """A literal. Raises as `parse` does."""
    parser = _Parser(text, resources)
    const = parser.literal()
    parser.end("after the literal")
    return const


def parse_type(text: str) -> Type:
    """A type. Raises as `parse` does."""
    parser = _Parser(text)
    type = parser.type()  # noqa: A001
    parser.end("after the type")
    return type


class _Parser(LiteralParser):
    """Reads programs and their parts. `_scope` holds what each name means here, innermost last, by its text without the %."""

    def __init__(self, text: str, resources: Resources | None = None) -> None:
        super().__init__(text, resources)
        self._scope: dict[str, list[Value]] = {}
        self._depth = 0

    # programs and functions

    def whole_program(self) -> Program:
        if self.tokens[self.at] != "program":
            self.fail_expected("program at the start (parse_fragment reads bare ops, parse_function a function)")
        self.at += 1
        program = self._header()
        self._items(program, END)
        return program

    def fragment(self, opset: str) -> Program:
        start = self.at
        inputs: list[tuple[str, str, Type]] = []
        while self.tokens[self.at] == "inputs":
            self.at += 1
            inputs += self._declared("inputs")
        function = self._new_function("main", inputs, opset, {}, start)
        block = Block()
        keys = self._ops(block, (END, "return"))
        if self.tokens[self.at] == "return":
            block.set_outputs(self._returned())
        elif block.last is not None:
            block.set_outputs(block.last.outputs)
        self._undefine(keys)
        self.end("after the fragment")
        function.add_block(opset, block)
        known = opset_of_key(opset)
        return Program([function], spec_version=(known or IOS18).spec_version)

    def end(self, where: str) -> None:
        """Nothing may follow."""
        if self.tokens[self.at] != END:
            self.fail_expected(f"the end of the text {where}")

    def _header(self) -> Program:
        program = Program()
        seen = set()
        while (token := self.tokens[self.at]) in ("spec_version", "format_version", "doc"):
            if token in seen:
                self.fail(f"{token} is said twice")
            seen.add(token)
            self.at += 1
            if token == "spec_version":
                program.spec_version = self.integer("a number as the specification version")
            elif token == "format_version":
                program.format_version = self.integer("a number as the format version")
            else:
                program.doc = self.string("a string as the docstring")
        return program

    def _items(self, program: Program, closing: str) -> None:
        while (token := self.tokens[self.at]) != closing:
            start = self.at
            if token == "func":
                try:
                    program.add_function(self.function())
                except MutationError as error:
                    self.fail(str(error), start + 1)
                continue
            self.at += 1
            if token == "attribute":
                name = self.word("the name of an attribute")
                if name in program.attributes:
                    self.fail(f"the program has an attribute {name} already", start + 1)
                self.expect("=", "after the name of an attribute")
                program.attributes[name] = self.literal()
            elif token == "metadata":
                name = self.string("a string as the name of metadata")
                if name in program.metadata:
                    self.fail(f"the program has metadata {name!r} already", start + 1)
                self.expect("=", "after the name of metadata")
                program.metadata[name] = self.string("a string as metadata")
            elif token == "stage":
                self._stage(program)
            else:
                self.at = start
                self.fail_expected("attribute, metadata, func or stage")
        self.at += closing != END

    def _stage(self, program: Program) -> None:
        start = self.at
        position = [self.integer("the number of a stage")]
        while self.tokens[self.at] == "/":
            self.at += 1
            position.append(self.integer("the number of a stage"))
        if tuple(position) in program.stages:
            self.fail(f"there is a stage {'/'.join(map(str, position))} already", start)
        stage = self._header()
        self.expect("{", "at the start of a stage")
        self._enter()
        self._items(stage, "}")
        self._depth -= 1
        program.stages[tuple(position)] = stage

    def function(self) -> Function:
        self.expect("func", "at the start of a function")
        start = self.at
        name = self.word("the name of a function")
        self.expect("<", "before the opset of a function")
        opset = self.word("an opset, like CoreML8")
        self.expect(">", "after the opset of a function")
        inputs = self._parameters() if self.tokens[self.at] == "(" else self.fail_expected("( and the inputs of the function")
        attributes = self._attributes()
        function = self._new_function(name, inputs, opset, attributes, start)
        if self.tokens[self.at] == "{":
            function.add_block(opset, self.block())
        else:
            while self.tokens[self.at] == "block":
                self.at += 1
                place = self.at
                key = self.word("the opset of a block, like CoreML8")
                if key in function.specializations:
                    self.fail(f"function {name} has a block for {key} already", place)
                function.add_block(key, self.block())
        self._undefine([key for key, _, _ in inputs])
        return function

    def _new_function(
        self, name: str, inputs: list[tuple[str, str, Type]], opset: str, attributes: Mapping[str, Const], start: int
    ) -> Function:
        try:
            function = Function(name, [(n, t) for _, n, t in inputs], opset, attributes)
        except MutationError as error:
            self.fail(f"function {name}: {error}", start)
        for (key, _, _), value in zip(inputs, function.inputs, strict=True):
            self.define(key, value)
        return function

    # blocks and ops

    def block(self) -> Block:
        """Moves over `(inputs)[attributes] { ops return outputs }`."""
        start = self.at
        inputs = self._parameters() if self.tokens[self.at] == "(" else []
        attributes = self._attributes()
        try:
            block = Block([(n, t) for _, n, t in inputs], attributes)
        except MutationError as error:
            self.fail(f"the block's inputs: {error}", start)
        self.expect("{", "at the start of a block")
        self._enter()
        for (key, _, _), value in zip(inputs, block.inputs, strict=True):
            self.define(key, value)
        keys = self._ops(block, ("return",))
        block.set_outputs(self._returned())
        self.expect("}", "after what a block returns")
        self._undefine(keys)
        self._undefine([key for key, _, _ in inputs])
        self._depth -= 1
        return block

    def _ops(self, block: Block, closing: tuple[str, ...]) -> list[str]:
        """Reads ops into a block up to `closing`; answers with the keys that they defined."""
        tokens = self.tokens
        keys: list[str] = []
        while tokens[self.at] not in closing:
            start = self.at
            before = len(keys)
            op = self._op(keys)
            try:
                block.append(op)
            except MutationError as error:
                self.fail(str(error), start)
            for key, value in zip(keys[before:], op.outputs, strict=True):
                self.define(key, value)
        return keys

    def _returned(self) -> list[Value]:
        self.at += 1
        found: list[Value] = []
        while self.tokens[self.at][:1] == "%":
            found.append(self._use())
            if self.tokens[self.at] != ",":
                break
            self.at += 1
            if self.tokens[self.at][:1] != "%":
                self.fail_expected("another value after the comma")
        return found

    def _op(self, keys: list[str]) -> Op:
        tokens = self.tokens
        outputs: list[tuple[str, Type]] = []
        if tokens[self.at][:1] == "%":
            declared = self._declared("an op's outputs")
            self.expect("=", "after an op's outputs")
            for key, name, kind in declared:
                keys.append(key)
                outputs.append((name, kind))
        op_type = self.word("an op, like %y: fp16[4] = relu(x=%x), or return")
        self.expect("(", "after the type of an op")
        operands: dict[str, tuple[Operand, ...]] = {}
        attributes: dict[str, Const] = {}
        if op_type == "const" and len(outputs) == 1 and tokens[self.at] != ")" and tokens[self.at + 1] != "=":
            attributes[VAL] = self.expected_literal(outputs[0][1])
            self.expect(")", "after the value of a const")
        else:
            self._operands(operands)
        if tokens[self.at] == "[":
            self._attributes(attributes)
        if outputs:
            if tokens[self.at] == "unnamed":
                if NAME in attributes:
                    self.fail("an op with an attribute name is not unnamed")
                self.at += 1
            elif NAME not in attributes:
                attributes[NAME] = string_const(outputs[0][0])
        blocks = []
        while tokens[self.at] == "block":
            self.at += 1
            blocks.append(self.block())
        return Op(op_type, operands, outputs, attributes, blocks)

    def _operands(self, operands: dict[str, tuple[Operand, ...]]) -> None:
        """Moves over `x=%a, values=(%b, 3))`."""
        tokens = self.tokens
        if tokens[self.at] == ")":
            self.at += 1
            return
        while True:
            start = self.at
            parameter = self.word("the name of a parameter")
            if parameter in operands:
                self.fail(f"the op has a parameter {parameter} already", start)
            self.expect("=", "after the name of a parameter")
            if tokens[self.at] != "(":
                operands[parameter] = (self._operand(),)
            else:
                self.at += 1
                held: list[Operand] = []
                while self._another(")", "an operand", bool(held)):
                    held.append(self._operand())
                operands[parameter] = tuple(held)
            if not self.more(")", "an operand"):
                return

    def _operand(self) -> Operand:
        return self._use() if self.tokens[self.at][:1] == "%" else self.literal()

    def _attributes(self, attributes: dict[str, Const] | None = None) -> dict[str, Const]:
        """Moves over `[a=1, b="x"]`, if it is there; adds to what is given."""
        found: dict[str, Const] = {} if attributes is None else attributes
        if self.tokens[self.at] != "[":
            return found
        self.at += 1
        while True:
            start = self.at
            name = self.word("the name of an attribute")
            if name in found:
                self.fail(f"there is an attribute {name} already", start)
            self.expect("=", "after the name of an attribute")
            found[name] = self.literal()
            if not self.more("]", "an attribute"):
                return found

    # values

    def _parameters(self) -> list[tuple[str, str, Type]]:
        """Moves over `(%x: fp16[4], …)`."""
        self.at += 1
        if self.tokens[self.at] == ")":
            self.at += 1
            return []
        declared = self._declared("inputs")
        self.expect(")", "after inputs")
        return declared

    def _declared(self, what: str) -> list[tuple[str, str, Type]]:
        """Moves over `%x: fp16[4], %y: int32`: key, name and type of each."""
        tokens = self.tokens
        found: list[tuple[str, str, Type]] = []
        while True:
            token = tokens[self.at]
            key = token[1:]
            if token[:1] != "%" or not key or key[0] in "^?":
                self.fail_expected(f"%name: type among {what}")
            name = key
            if key[0] == '"':
                name = self._quoted_name(key)
                key = value_name(name)
            self.at += 1
            if tokens[self.at] != ":":
                self.fail_expected(f": and a type after {token}")
            self.at += 1
            found.append((key, name, self.type()))
            if tokens[self.at] != ",":
                return found
            self.at += 1

    def _quoted_name(self, token: str) -> str:
        name = unquote(token)
        if name is None:
            self.fail("the name does not end on its line, or has an escape that there is not")
        return name

    def _use(self) -> Value:
        """Moves over a value that is used."""
        visible = self._scope.get(self.tokens[self.at][1:])
        if visible:
            self.at += 1
            return visible[-1]
        return self._hidden_or_quoted()

    def _hidden_or_quoted(self) -> Value:
        token = self.tokens[self.at]
        rest = token[1:].lstrip("^")
        if rest[:1] == "?":
            self.fail(f"{token} is used outside of where it is defined: the program that printed so is not valid")
        if rest[:1] == '"':
            rest = value_name(self._quoted_name(rest))
        visible = self._scope.get(rest, [])
        hidden = len(token) - 1 - len(token[1:].lstrip("^"))
        if not rest or hidden >= len(visible):
            self._fail_undefined(token, rest, len(visible))
        self.at += 1
        return visible[-1 - hidden]

    def _fail_undefined(self, token: str, key: str, visible: int) -> NoReturn:
        if visible:
            self.fail(f"{token} names a value behind {visible} others of the name, but there are no more than {visible}")
        near = get_close_matches(key, self._scope, 1) if 0 < len(self._scope) <= SUGGESTED else []
        self.fail(f"{token[:60]} is not defined here{f'; did you mean %{near[0]}?' if near else ''}")

    def define(self, key: str, value: Value) -> None:
        """Lets a name mean a value from here on."""
        visible = self._scope.get(key)
        if visible is None:
            self._scope[key] = [value]
        else:
            visible.append(value)

    def _undefine(self, keys: Iterable[str]) -> None:
        scope = self._scope
        for key in keys:
            visible = scope[key]
            if len(visible) == 1:
                del scope[key]
            else:
                visible.pop()

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"blocks and stages nest deeper than {MAX_DEPTH} levels here")
