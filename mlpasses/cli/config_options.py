"""The options of a config as options of a command: `block_size: int | None` is `--block-size INTEGER`.

Their values are read as those of a recipe are, by the same code, so they take what a recipe takes and complain in the same words.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import click
from attrs import frozen

from mlpasses.options import Option, option_docs, options_of
from mlpasses.passes import kebab
from mlpasses.yamltree import Mark, Node, dump_inline, parse

F = TypeVar("F", bound=Callable[..., Any])

_WORDS: Final = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "[true|false]"}


def config_options(*configs: type, without: Sequence[str] = ()) -> Callable[[F], F]:
    """Adds an option for each that one of `configs` has, and hands the command those given as `options`: nodes by name.

    Left out are those called so in `without`.
    """
    stated = [each for each in _stated(configs) if each.name not in without]

    def decorate(command: F) -> F:
        @wraps(command)  # with the options that it has so far
        def called(*arguments: Any, **given: Any) -> Any:
            texts = {each: given.pop(each.parameter) for each in stated}
            options = {each.name: _node(each, text) for each, text in texts.items() if text is not None}
            return command(*arguments, options=options, **given)

        decorated: Any = called
        for each in reversed(stated):
            decorated = click.option(each.flag, each.parameter, metavar=each.metavar, help=each.help)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


@frozen
class _Stated:
    """An option of one config or several, as the command line has it."""

    name: str
    metavar: str
    help: str
    several: bool
    """Whether it takes several values."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def parameter(self) -> str:
        """What click calls it, apart from the command's own."""
        return f"config_{self.name}"


def _stated(configs: Sequence[type]) -> list[_Stated]:
    """In the order of the configs; what several all have comes last."""
    homes: dict[str, dict[type, Option]] = {}
    for config in configs:
        for option in options_of(config):
            homes.setdefault(option.name, {})[config] = option
    docs = {config: option_docs(config) for config in configs}
    ordered = sorted(homes.items(), key=lambda each: len(configs) > 1 and len(each[1]) == len(configs))
    return [_of(name, found, docs) for name, found in ordered]


def _of(name: str, homes: Mapping[type, Option], docs: Mapping[type, Mapping[str, str]]) -> _Stated:
    said = {config: _said(option, docs[config].get(option.field, "")) for config, option in homes.items()}
    distinct = set(said.values())
    text = distinct.pop() if len(distinct) == 1 else " ".join(f"{kebab(config.__name__)}: {doc}" for config, doc in said.items())
    members = _members(next(iter(homes.values())).type)
    return _Stated(name, "|".join(map(_word, members)), text, any(map(_is_several, members)))


def _said(option: Option, doc: str) -> str:
    """The docstring of an option, on one line, with its default. What null stands for is what leaving it out does."""
    doc = " ".join(doc.split()).replace("Null:", "Without:").replace("null:", "without:")
    default = option.default_value
    return doc if default is None else f"{doc} [default: {dump_inline(default)}]"


def _members(kind: Any) -> list[Any]:
    """The types that a text may be read as: all of a union but null."""
    union = get_origin(kind) in (Union, types.UnionType)
    return [each for each in (get_args(kind) if union else (kind,)) if each is not types.NoneType]


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"[{'|'.join(map(str, get_args(kind)))}]"
    if _is_several(kind):
        return f"{_word(get_args(kind)[0])},…"
    return _WORDS.get(kind, "TEXT")


def _is_several(kind: Any) -> bool:
    return get_origin(kind) in (tuple, list)


def _node(each: _Stated, text: str) -> Node:
    """What a text on the command line would be in a recipe; what is wrong with it is at the option."""
    mark = Mark(f"{each.flag} {text}")
    if not text.strip():
        raise click.UsageError(f"{each.flag} needs a value", click.get_current_context())
    bracketed = f"[{text}]" if each.several and "," in text and not text.startswith("[") else text
    node = parse(bracketed, mark.file)
    return Node(mark, node.data, node.keys, node.size)
