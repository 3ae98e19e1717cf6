"""The JSON Schema of recipes (draft 2020-12), from the options of the passes that are installed.

It says of types, names and required options what the reader of recipes says. What only code can check (bounds, patterns, combinations of
options) it lets through.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

from ir.opset import OPSETS, Opset
from ir.types import DTYPES, DType
from mlpasses.errors import ConfigError
from mlpasses.filter_data import FILTER_KEYS
from mlpasses.options import Option, config_of, is_config, option_docs, options_class, options_of, own_options, rules_option
from mlpasses.passes import Pass, kebab
from mlpasses.pipeline import Pipeline
from mlpasses.registry import registry
from mlpasses.rules import POLICIES, Rules
from mlpasses.select import Filter
from mlpasses.structuring import as_plain

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
PASS: Final[Schema] = {"$ref": "#/$defs/pass"}
PASSES: Final[Schema] = {"type": "array", "items": PASS}


def recipe_schema() -> tuple[Schema, list[str]]:
    """The schema, and what kept passes of installed packages out of it."""
    known = registry()
    problems = list(known.conflicts.values())
    kinds: list[type[Pass]] = []
    defined: dict[str, Schema] = {}
    for entry in known.entries.values():
        try:
            kind = entry.load()
            defined[kind.name] = _pass(kind)
            kinds.append(kind)
        except ConfigError as error:
            problems.append(str(error))
    alone = sorted(kind.name for kind in kinds if not any(option.required for option in options_of(kind)))
    entry_schema: Schema = {
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/passes/{name}"} for name in sorted(defined)},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {
        "$schema": DIALECT,
        "title": "A recipe of mlpasses",
        "type": "object",
        "properties": {
            "version": {"const": 1, "description": "The version of the format."},
            "passes": {**PASSES, "description": "The passes, in the order in which they run."},
        },
        "required": ["version", "passes"],
        "additionalProperties": False,
        "$defs": {
            "pass": {"anyOf": [{"enum": alone}, entry_schema, PASSES]},
            "filter": _object(_filter_properties()),
            "passes": {name: defined[name] for name in sorted(defined)},
        },
    }, problems


def _pass(kind: type[Pass]) -> Schema:
    """What may stand behind the name of a pass."""
    described: Schema = {"description": inspect.cleandoc(kind.__doc__ or "")}
    if issubclass(kind, Pipeline):
        return {**described, "anyOf": [PASSES, {"type": "null"}]}
    if rules_option(kind) is not None:
        return {**described, "anyOf": _ruled(kind)}
    allowed = _options_or_lone(options_class(kind))
    if not any(option.required for option in options_of(kind)):
        allowed.append({"type": "null"})
    if config_of(kind) is None and not options_of(kind):
        allowed = [_object({}), {"type": "null"}]
    return {**described, "anyOf": allowed}


def _options_or_lone(kind: type, beside: Mapping[str, Schema] | None = None) -> list[Schema]:
    """The options of a class as a mapping, or the first of them alone."""
    options = options_of(kind)
    required = [option.name for option in options if option.required]
    allowed = [_object(_properties(kind, options) | dict(beside or {}), required)]
    if options and all(option is options[0] or not option.required for option in options):
        allowed.append(_of_type(options[0].type))
    return allowed


def _ruled(kind: type[Pass]) -> list[Schema]:
    configs: tuple[type, ...] = getattr(kind, "configs", ())
    own = _properties(kind, own_options(kind))
    outcomes: dict[str, Schema] = {"skip": {"anyOf": [{"const": True}, {"type": "string"}], "description": "Left alone; and why."}}
    for config in configs:
        doc = inspect.cleandoc(config.__doc__ or "")
        outcomes[kebab(config.__name__)] = {"description": doc, "anyOf": [*_options_or_lone(config), {"type": "null"}]}
    one = [{"required": [name]} for name in outcomes]
    optional: Schema = {"type": "boolean", "description": "Whether it may match nothing."}
    rule = {**_object({**_filter_properties(), **outcomes, "optional": optional}), "oneOf": one}
    stated: dict[str, Schema] = {
        "rules": {"type": "array", "items": rule, "description": "The first that matches decides."},
        "default": {
            "anyOf": [{**_object(outcomes), "oneOf": one}, {"enum": list(outcomes)}],
            "description": "For what no rule matches.",
        },
        "conflicts": {"enum": list(POLICIES), "description": "What becomes of a weight whose uses come out differently."},
    }
    return [*_options_or_lone(configs[0], own), _object({**stated, **own}), {"type": "null"}]


def _filter_properties() -> dict[str, Schema]:
    words: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    number: Schema = {"type": "integer"}
    compared: Schema = {"anyOf": [number, {"type": "string", "pattern": r"^\s*(<=|>=|==|!=|<|>)\s*-?[0-9]+\s*$"}]}
    nested: Schema = {"$ref": "#/$defs/filter"}
    several: Schema = {"type": "array", "items": nested, "minItems": 1}
    dtypes: Schema = {"enum": [each.name for each in DTYPES]}
    special: dict[str, Schema] = {
        "dtype": {"anyOf": [dtypes, {"type": "array", "items": dtypes, "minItems": 1}]},
        "rank": compared, "numel": compared, "nbytes": compared, "opset": {"type": "string"},
        "min_elements": number, "max_elements": number, "min_bytes": number, "max_bytes": number,
        "not": nested, "any": several, "all": several,
    }  # fmt: skip
    return {key: special.get(key, words) for key in FILTER_KEYS}


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def _properties(kind: type, options: Sequence[Option]) -> dict[str, Schema]:
    docs = option_docs(kind)
    return {option.name: {**_of_type(option.type), **_about(option, docs.get(option.field, ""))} for option in options}


def _about(option: Option, doc: str) -> Schema:
    about: Schema = {"description": doc} if doc else {}
    if not option.required and option.default_value is not None and not isinstance(option.default_value, Rules):
        about["default"] = as_plain(option.default_value)
    return about


_SIMPLE: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    types.NoneType: {"type": "null"},
    None: {"type": "null"},
    Any: {},
    Path: {"type": "string"},
    DType: {"enum": [each.name for each in DTYPES]},
    Opset: {"enum": [each.target for each in OPSETS]},
    Pipeline: PASSES,
}


def _of_type(kind: Any) -> Schema:
    """What data an option of a type is read from."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _of_type(args[0])
    if origin is Literal:
        return {"enum": list(args)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of_type(arg) for arg in args]}
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if isinstance(kind, type) and issubclass(kind, Pass):
        return PASS
    if isinstance(kind, type) and issubclass(kind, Filter):
        return {"$ref": "#/$defs/filter"}
    if is_config(kind):
        options = options_of(kind)
        return _object(_properties(kind, options), [option.name for option in options if option.required])
    return _of_collection(origin or kind, args)


def _of_collection(origin: Any, args: tuple[Any, ...]) -> Schema:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of_type(args[1]) if args else {}}
    if origin is tuple and args and args[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [_of_type(arg) for arg in args], "minItems": len(args), "maxItems": len(args)}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and not issubclass(origin, str | bytes):
        return {"type": "array", "items": _of_type(args[0]) if args else {}}
    return {}  # a type that only its own package reads
