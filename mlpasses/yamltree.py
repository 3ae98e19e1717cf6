"""YAML as a tree that remembers where everything stood.

PyYAML reads; what its events mean is decided here, so that every later complaint can name a line and a column, and so that a document
can neither surprise nor exhaust: scalars follow the core schema of YAML 1.2 (`no` is a word, `1e-3` a number), keys are unique words,
there are no tags, and depth and size, with aliases expanded, are bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import yaml
from attrs import field, frozen

from mlpasses.errors import RecipeError

MAX_BYTES: Final = 1 << 20
"""The longest document that is read; reading it takes two seconds."""
MAX_NODES: Final = 100_000
"""Nodes of a document, every alias counted with all that it stands for."""
MAX_DEPTH: Final = 64

Path: TypeAlias = tuple[str | int, ...]
Scalar: TypeAlias = str | int | float | bool | None


@frozen
class Mark:
    """A place in a document; lines and columns count from 1. Without a line it is the whole of `file`."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@frozen
class Node:
    """A scalar, a sequence of nodes, or a mapping from words to nodes, and where it stood. `keys` says where each key did."""

    mark: Mark
    data: Scalar | tuple[Node, ...] | dict[str, Node]
    keys: dict[str, Mark] = field(factory=dict)
    size: int = 1
    """Nodes in it, itself included."""

    def plain(self, path: Path = ()) -> Any:
        """The same in dictionaries, which know where they stood, and lists. `path` leads to the node itself."""
        if isinstance(self.data, dict):
            return Placed({key: node.plain((*path, key)) for key, node in self.data.items()}, self, path)
        if isinstance(self.data, tuple):
            return [node.plain((*path, index)) for index, node in enumerate(self.data)]
        return self.data

    def at(self, path: Path) -> Mark:
        """Where what `path` leads to stood, or the nearest thing around it. A mapping's entry stands where its value does.

        The key of an entry is asked for by `key_at`.
        """
        return self._reach(path)[0].mark

    def key_at(self, path: Path) -> Mark:
        """As `at`, and for an entry of a mapping where its key stood."""
        parent, rest = self._reach(path[:-1])
        return self.at(path) if rest else parent.keys.get(str(path[-1]), self.at(path)) if path else self.mark

    def _reach(self, path: Path) -> tuple[Node, Path]:
        node, rest = self, path
        while rest:
            inner: Node | None = None
            step = rest[0]
            if isinstance(node.data, dict) and isinstance(step, str):
                inner = node.data.get(step)
            elif isinstance(node.data, tuple) and isinstance(step, int) and step < len(node.data):
                inner = node.data[step]
            if inner is None:
                break
            node, rest = inner, rest[1:]
        return node, rest


class Placed(dict[str, Any]):
    """The plain form of a mapping, with the node that it was and the path that led there."""

    def __init__(self, items: dict[str, Any], node: Node, path: Path) -> None:
        super().__init__(items)
        self.node = node
        self.path = path


def located(message: str, mark: Mark, path: Path = (), hint: str = "") -> str:
    """An error's text: the message, where it is, and the nearest fix.

        no option 'dtyp'
          --> w8.yaml:4:7  passes[1].quantize-weights.dtyp
          did you mean 'dtype'?
    """
    lines = [message, f"  --> {mark}" + (f"  {dotted(path)}" if path else "")]
    return "\n".join([*lines, f"  {hint}"] if hint else lines)


def dotted(path: Path) -> str:
    """`passes[1].quantize-weights.dtype`"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def parse(source: str | bytes, file: str) -> Node:
    """Reads one YAML document; `file` is what errors call it.

    Raises:
        RecipeError: it is not UTF-8, not YAML, empty, too large, has duplicate keys, or uses what is no part of a recipe.
    """
    if len(source) > MAX_BYTES:
        raise RecipeError(located(f"this has {len(source)} bytes, and no recipe has more than {MAX_BYTES}", Mark(file)))
    return _parse(_decoded(source, file), file, 0)


def parse_items(text: str, file: str) -> tuple[Node, ...]:
    """Reads what could stand between the brackets of a YAML list: `a, b: {c: 1}`. Raises as `parse`."""
    if len(text) > MAX_BYTES:
        raise RecipeError(located(f"this has {len(text)} characters, and no recipe has more than {MAX_BYTES}", Mark(file)))
    items = _parse(f"[\n{text}\n]", file, 1).data
    assert isinstance(items, tuple)  # nothing may follow the list that the first character begins
    return items


def _parse(text: str, file: str, above: int) -> Node:
    """The document in a text; so many lines of it were put above what the file has."""
    try:
        return _Composer(yaml.parse(text, Loader=yaml.SafeLoader), file, above).document()
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_syntax(error, text, file, above)) from error
    except yaml.reader.ReaderError as error:
        mark = _mark_of(text, error.position, file, above)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise RecipeError(located(f"the character U+{code:04X} is not allowed in YAML", mark)) from error


class _Composer:
    """Builds nodes from PyYAML's events. Keeps the anchors of one document."""

    def __init__(self, events: Iterator[yaml.Event], file: str, above: int) -> None:
        self._events = (event for event in events if not isinstance(event, yaml.StreamStartEvent))
        self._file = file
        self._above = above
        self._anchors: dict[str, Node | None] = {}

    def document(self) -> Node:
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            raise RecipeError(located("the file is empty", Mark(self._file), hint='a recipe starts with "version: 1"'))
        root = self._node(next(self._events), 0)
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, "a second document starts here, where a file holds one recipe")
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(event, f"this is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        assert isinstance(event, yaml.NodeEvent)  # the grammar of events: a node begins here
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._mark(event), self._scalar(event))
        elif isinstance(event, yaml.CollectionStartEvent) and event.tag is not None:
            raise self._error(event, f"the tag {_tag(event.tag)} is no part of a recipe")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise self._error(event, f"there is no anchor &{event.anchor} before this alias")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._error(event, f"the alias *{event.anchor} stands inside of what it refers to")
        return node

    def _sequence(self, start: yaml.Event, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        for event in self._until(yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            size = self._grown(size, item, event)
            items.append(item)
        return Node(self._mark(start), tuple(items), size=size)

    def _mapping(self, start: yaml.Event, depth: int) -> Node:
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        size = 1
        for event in self._until(yaml.MappingEndEvent):
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if key is None:
                raise self._error(event, "a key has to be a word")
            if key in entries:
                raise self._error(event, f"the key {key!r} occurs twice: it is first given at {keys[key]}")
            value_event = next(self._events)
            entries[key] = self._node(value_event, depth + 1)
            keys[key] = self._mark(event)
            size = self._grown(size, entries[key], value_event)
        return Node(self._mark(start), entries, keys, size)

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _grown(self, size: int, node: Node, event: yaml.Event) -> int:
        if size + node.size > MAX_NODES:
            raise self._error(event, f"the document has more than {MAX_NODES} nodes, its aliases written out")
        return size + node.size

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        if event.tag is not None:
            raise self._error(event, f"the tag {_tag(event.tag)} is no part of a recipe")
        if not event.implicit[0]:
            return str(event.value)
        try:
            return resolve(event.value)
        except ValueError as error:
            raise self._error(event, str(error)) from error

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(self._file) if start is None else Mark(self._file, start.line + 1 - self._above, start.column + 1)

    def _error(self, event: yaml.Event, message: str) -> RecipeError:
        return RecipeError(located(message, self._mark(event)))


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY: Final = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN: Final = frozenset({".nan", ".NaN", ".NAN"})


def resolve(text: str) -> Scalar:
    """What a plain (unquoted) scalar stands for: the core schema of YAML 1.2, section 10.3.2.

    Raises:
        ValueError: it is a whole number of absurd length.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > 100:
            raise ValueError(f"a number of {len(text)} digits is beyond anything that an option can be")
        return int(text, 10 if text[:2] not in ("0o", "0x") else 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    infinity = _INFINITY.fullmatch(text)
    if infinity:
        return -math.inf if infinity[1] == "-" else math.inf
    return math.nan if text in _NAN else text


class Block(dict[str, Any]):
    """A mapping that `dump` writes in block style, whatever is in it."""


class Flow(dict[str, Any]):
    """A mapping that `dump` writes on one line, whatever is in it."""


class _Dumper(yaml.SafeDumper):
    """Quotes what this module or YAML 1.1 would not read back as text; indents sequences."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_block(dumper: yaml.SafeDumper, data: Block) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=False)


def _represent_flow(dumper: yaml.SafeDumper, data: Flow) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Double quotes for what needs escapes: PyYAML's choice of style loses line breaks of other kinds (U+0085) in keys."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(Block, _represent_block)
_Dumper.add_representer(Flow, _represent_flow)
_Dumper.add_representer(str, _represent_text)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def dump(data: Any) -> str:
    """Plain data as YAML in the layout of a hand-written recipe: innermost collections on one line, keys in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
    return text


def dump_inline(data: Any) -> str:
    """Plain data as YAML on one line."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.strip().removesuffix("\n...")


def _decoded(source: str | bytes, file: str) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start]
        mark = Mark(file, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise RecipeError(located(f"the byte 0x{source[error.start]:02x} is not UTF-8", mark, hint="save the file as UTF-8")) from error


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str, above: int) -> str:
    at = error.problem_mark or error.context_mark
    if at is None:
        return located(f"this is no YAML: {error.problem or error.context}", Mark(file))
    mark = Mark(file, at.line + 1 - above, at.column + 1)
    lines: Sequence[str] = text.split("\n")
    line = lines[at.line] if at.line < len(lines) else ""
    if "\t" in line[: at.column + 1]:
        return located("a tab stands where YAML wants spaces", mark, hint="indent with spaces")
    begun = error.context_mark.line + 1 - above if error.context_mark else 0
    context = f" ({error.context} at line {begun})" if error.context and begun > 0 else ""
    above_it = next((each for each in reversed(lines[: at.line]) if each.strip()), "")
    stuck = _STUCK.match(above_it) if error.problem == "mapping values are not allowed here" else None
    hint = f"a colon needs a space behind it: {stuck[1]}: {stuck[2]}" if stuck else ""
    return located(f"this is no YAML: {error.problem or error.context}{context}", mark, hint=hint)


_STUCK: Final = re.compile(r"[ -]*([\w-]+):([^\s:/][^:]*)$")
"""A line of text that was meant as a key and its value."""


def _mark_of(text: str, position: int, file: str, above: int) -> Mark:
    before = text[:position]
    return Mark(file, before.count("\n") + 1 - above, len(before) - before.rfind("\n"))
