"""The options of a pass: the fields of its class, with their types in words, their defaults and their docstrings.

A pass whose one field is a config has the config's fields as its options; so has one that takes rules, for the lone config that is for
everything.
"""

from __future__ import annotations

import ast
import enum
import inspect
import math
import textwrap
import types
from collections.abc import Mapping
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

from ir.opset import Opset
from ir.types import DType
from mlpasses.errors import ConfigError
from mlpasses.passes import Pass
from mlpasses.pipeline import Pipeline
from mlpasses.rules import Rules
from mlpasses.select import Filter


@frozen
class Option:
    """One option: its name in recipes, the field that it is, and what that accepts."""

    name: str
    field: str
    type: Any
    default: Any
    """`attrs.NOTHING` where the option has to be given."""

    @property
    def required(self) -> bool:
        return self.default is attrs.NOTHING

    @property
    def accepts(self) -> str:
        """The type in words: `int8 or uint8`, `a whole number`."""
        return type_words(self.type)

    @property
    def default_value(self) -> Any:
        """The default; None where it is made anew each time from the others, or there is none."""
        if isinstance(self.default, attrs.Factory):  # type: ignore[arg-type]  # the stub calls it a function
            return None if self.default.takes_self else self.default.factory()
        return None if self.required else self.default


def options_of(kind: type) -> list[Option]:
    """The options that a class of attrs takes: the fields of its constructor, types resolved. None for any other class.

    They are in the order of the constructor, where those that are given by name only come last, be they of a base class: the first option
    is the one that a lone value stands for.

    Raises:
        ConfigError: a type names what its module has only for type checkers.
    """
    if not attrs.has(kind) or issubclass(kind, Pipeline):
        return []
    try:
        attrs.resolve_types(kind)
    except NameError as error:
        raise ConfigError(
            f"the options of {kind.__name__} have a type that does not exist at run time ({error}): import it outside of TYPE_CHECKING"
        ) from error
    return [
        Option(field.alias or field.name, field.name, Any if field.type is None else field.type, field.default)
        for field in sorted(attrs.fields(kind), key=attrgetter("kw_only"))
        if field.init and not field.metadata.get("python only")
    ]


def rules_option(kind: type[Pass]) -> Option | None:
    """The option of a pass that is rules over the configs it names (`configs`); None where there is none."""
    if not getattr(kind, "configs", ()):
        return None
    return next((option for option in options_of(kind) if option.type is Rules), None)


def own_options(kind: type[Pass]) -> list[Option]:
    """The options of a pass beside its rules."""
    return [option for option in options_of(kind) if option.type is not Rules]


def config_of(kind: type[Pass]) -> Option | None:
    """The option of a pass that is a config and its only one; None where there is none, or where the pass takes rules."""
    options = options_of(kind)
    return options[0] if len(options) == 1 and is_config(options[0].type) else None


def options_class(kind: type[Pass]) -> type:
    """The class whose fields the options of a pass are: its config's, the first of those that its rules may hold, or its own."""
    if rules_option(kind) is not None:
        config: type = getattr(kind, "configs")[0]  # noqa: B009 - only passes with rules have it
        return config
    found = config_of(kind)
    return kind if found is None else found.type


def is_config(kind: object) -> bool:
    """Whether a type is a class of options: one of attrs that has no word of its own."""
    return isinstance(kind, type) and attrs.has(kind) and kind not in (DType, Opset, Rules) and not issubclass(kind, Pass | Filter)


def type_words(kind: Any) -> str:
    """What a type accepts, in words: `int8 or uint8`, `a whole number`, `a list of text`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_words(args[0])
    choices = _choices(kind)
    if choices:
        return _either(choices)
    if origin in (Union, types.UnionType):
        members = [arg for arg in args if not (arg is int and float in args)]
        return _either([word for member in members for word in (_choices(member) or [type_words(member)])])
    if kind in WORDS:
        return WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, Filter):
        return "a filter, such as {op_type: conv}"
    if is_config(kind):
        return f"the options of {kind.__name__}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of {type_words(args[0])} to {type_words(args[1])}"
    if origin is tuple and args[-1] is not Ellipsis:
        return f"a list of {' and '.join(map(type_words, args))}"
    if isinstance(origin, type) and args:
        return f"a list of {_several(type_words(args[0]))}"
    return str(getattr(kind, "__name__", kind))


def _several(words: str) -> str:
    """`whole numbers`, of `a whole number`; other words stand for any number of them."""
    return f"{words.removeprefix('a ')}s" if words in ("a number", "a whole number", "a path") else words


def _choices(kind: Any) -> list[str]:
    """The values of a type that names them all, as a recipe would write them; none for any other type."""
    if get_origin(kind) is Literal:
        return [show(value, quoted=False) for value in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [show(member.value, quoted=False) for member in kind]
    return []


def option_docs(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a class and of those that it derives from, by field; empty where there is no source to read."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                doc = below.value.value if isinstance(below.value, ast.Constant) else None
                if isinstance(doc, str):
                    found[field.target.id] = inspect.cleandoc(doc)
    return found


def show(data: Any, *, quoted: bool = True) -> str:
    """A piece of plain data as a recipe would write it, in short."""
    if isinstance(data, str):
        short = data if len(data) <= 60 else f"{data[:57]}…"
        return f'"{short}"' if quoted else short
    if data is None:
        return "null"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, float) and not math.isfinite(data):
        return f"{'-' if data < 0 else ''}.{'nan' if data != data else 'inf'}"
    if isinstance(data, Mapping):
        return "a mapping"
    return "a list" if isinstance(data, list | tuple) else str(data)


WORDS: Final[dict[Any, str]] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    types.NoneType: "null",
    None: "null",
    Any: "anything",
    Path: "a path",
    DType: "an element type, such as int8",
    Opset: "a target, such as iOS18",
    Pass: "a pass, or a list of passes",
    Rules: "rules",
    Pipeline: "a list of passes",
}
"""Types that have a word of their own."""


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
