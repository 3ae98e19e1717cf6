"""Passes as plain data, and back: what recipes and the command line share.

The options of a pass are the fields of its class. A pass whose one field is a config takes the config's fields as its own:

    quantize-weights: {dtype: int8}    ⇄    QuantizeWeights(Quantize(dtype="int8"))

a pass that takes rules has either such a lone config, which is for everything, or `rules`, `default` and `conflicts` (see
`mlpasses.rule_data`), and a lone value is the first field:

    raise-opset: iOS18                 ⇄    RaiseOpset("iOS18")

Where a pass is wanted, a list is a pipeline. Types are taken at their word: text is no number, 1.5 is no whole number, and a key that
names no option is refused.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_unstructure_fn

from ir.opset import OPSETS, Opset, opset_of_target
from ir.types import DTYPE_BY_NAME, DType
from mlpasses.errors import ConfigError
from mlpasses.faults import Fault, Faults, faults_of, raise_faults
from mlpasses.filter_data import filter_data, filter_of
from mlpasses.options import config_of, is_config, options_class, options_of, own_options, rules_option, show, type_words
from mlpasses.passes import Pass, kebab
from mlpasses.pipeline import Pipeline
from mlpasses.registry import pass_class, suggest
from mlpasses.rule_data import RULE_KEYS, Outcomes, is_default, rules_data, rules_of
from mlpasses.rules import Rule, Rules, Where
from mlpasses.select import Filter, everything
from mlpasses.yamltree import Block, Placed, dotted

NOTHING: Final = object()
"""In place of options: a pass was given by its name alone."""


def structure_passes(data: Any) -> Pipeline:
    """A pipeline from the list of its passes.

    Raises:
        Faults: with everything that is wrong.
    """
    made: Pipeline = _structured(Pipeline, data)
    return made


def unstructure_pass(each: Pass) -> Any:
    """The entry of a recipe that stands for a pass: its name alone where no option differs from its default.

    Raises:
        ConfigError: no recipe can name the pass: it is not registered.
    """
    try:
        known = pass_class(each.name)
    except ConfigError as error:
        raise ConfigError(f"{type(each).__name__} cannot stand in a recipe: {error}") from error
    if known is not type(each):
        other = f"{known.__module__}.{known.__name__}"
        raise ConfigError(f"{type(each).__name__} cannot stand in a recipe: {each.name!r} is {other}; give it a name of its own")
    if isinstance(each, Pipeline):
        return Block({each.name: [unstructure_pass(inner) for inner in each]})
    if each == _by_default(type(each)):
        return each.name
    if rules_option(type(each)) is not None:
        return Block({each.name: _ruled_data(each)})
    config = config_of(type(each))
    value = each if config is None else getattr(each, config.field)
    plain = _plain_options(value)
    options = options_of(type(each))
    if config is None and len(options) == 1 and not isinstance(plain[options[0].name], Mapping | None):
        return Block({each.name: plain[options[0].name]})
    return Block({each.name: plain})


def _plain_options(value: Any) -> dict[str, Any]:
    """The options of a pass or config as plain data, those at their default left out."""
    plain: dict[str, Any] = _unstructure_hook(type(value))(value)
    return plain


def _ruled_data(each: Pass) -> dict[str, Any]:
    """The options of a pass that takes rules."""
    kind = type(each)
    option = rules_option(kind)
    assert option is not None
    configs, own = _configs(kind), _plain_options(each)
    rules: Rules | None = own.pop(option.name, None)
    if rules is None:  # they are the default
        return own
    if len(rules) == 1 and is_default(rules[0]) and type(rules[0].config) is configs[0] and rules.conflicts == "strictest":
        lone = _plain_options(rules[0].config)
        clash = {o.name for o in options_of(configs[0])} & {o.name for o in own_options(kind)}
        if not clash and (lone or not own):
            return {**lone, **own}
    return Block({**rules_data(rules, configs, _plain_options), **own})


def _configs(kind: type[Pass]) -> tuple[type, ...]:
    found: tuple[type, ...] = getattr(kind, "configs", ())
    return found


def as_plain(value: Any) -> Any:
    """The value of an option as plain data."""
    if isinstance(value, Pass):
        return _inner_data(value)
    return filter_data(value) if isinstance(value, Filter) else _converter().unstructure(value)


def _inner_data(each: Pass) -> Any:
    """A pass as the option of another: a pipeline is the list of its passes."""
    return [unstructure_pass(inner) for inner in each] if type(each) is Pipeline else unstructure_pass(each)


@cache
def _converter() -> cattrs.Converter:
    """Strict, complete in its complaints. Made once: it holds functions generated for each class, and nothing else."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, accepts in _EXACT.items():
        converter.register_structure_hook(kind, _exact(kind, accepts))
    converter.register_structure_hook(FilePath, lambda data, _: FilePath(_structured(str, data)))
    converter.register_unstructure_hook(FilePath, str)
    converter.register_structure_hook(DType, lambda data, _: _by_name(data, DTYPE_BY_NAME, "element type"))
    converter.register_unstructure_hook(DType, lambda dtype: dtype.name)
    converter.register_structure_hook(Opset, lambda data, _: _target(data))
    converter.register_unstructure_hook(Opset, lambda opset: opset.target)
    converter.register_structure_hook_factory(is_config, _config_hook)
    converter.register_structure_hook_factory(_is_pass, _pass_hook)
    converter.register_unstructure_hook_factory(attrs.has, _unstructure_hook)
    converter.register_unstructure_hook_factory(_is_pass, lambda _: _inner_data)
    converter.register_structure_hook(Rules, lambda data, _: _as_they_are(data))
    converter.register_unstructure_hook(Rules, lambda rules: rules)
    converter.register_structure_hook_factory(_is_filter, lambda _: lambda data, _: filter_of(data))
    converter.register_unstructure_hook_factory(_is_filter, lambda _: filter_data)
    converter.register_structure_hook_func(lambda kind: kind is Any, lambda data, _: _bare(data))
    converter.register_structure_hook_factory(_is_union, _union_hook)
    converter.register_structure_hook_factory(_is_choice, _choice_hook)
    converter.register_structure_hook_factory(_is_sequence, _sequence_hook)
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    return converter


def _structured(kind: Any, data: Any) -> Any:
    try:
        return _converter().structure(data, kind)
    except (ClassValidationError, IterableValidationError) as error:
        raise Faults(*faults_of(error)) from error
    except cattrs.StructureHandlerNotFoundError as error:
        raise ConfigError(f"no recipe can state an option of type {type_words(kind)}: {error}") from error


Hook = Callable[[Any, Any], Any]

_EXACT: Final[dict[type, tuple[type, ...]]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    types.NoneType: (types.NoneType,),
}
"""What plain data stands for each primitive type."""

def _exact(kind: type, accepts: tuple[type, ...]) -> Hook:
    def structure(data: Any, _: Any) -> Any:
        if type(data) not in accepts:
            raise _mismatch(kind, data)
        return kind(data) if kind is float else data

    return structure


def _mismatch(kind: Any, data: Any, hint: str = "") -> Faults:
    return Faults(Fault(f"expected {type_words(kind)}, found {show(data)}", hint=hint))


def _target(data: Any) -> Opset:
    if isinstance(data, str):
        return opset_of_target(data)
    meant = f"iOS{data}" if type(data) is int and f"iOS{data}" in [opset.target for opset in OPSETS] else ""
    raise _mismatch(Opset, data, f"did you mean {meant}?" if meant else "")


def _by_name(data: Any, known: Mapping[str, Any], what: str) -> Any:
    if not isinstance(data, str) or data not in known:
        raise Faults(Fault(f"expected an {what}, found {show(data)}", hint=suggest(str(data), known)))
    return known[data]


def _as_they_are(data: Any) -> Rules:
    """Rules are made where the pass is known that they are for."""
    if not isinstance(data, Rules):
        raise ConfigError("no recipe can state these rules: their pass does not say which configs they may hold (`configs`)")
    return data


def _is_filter(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Filter)


def _bare(data: Any) -> Any:
    """Plain data that has forgotten where it stood."""
    if isinstance(data, Mapping):
        return {key: _bare(value) for key, value in data.items()}
    return [_bare(value) for value in data] if isinstance(data, list) else data


def _config_hook(kind: type) -> Hook:
    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, Mapping):
            raise _mismatch(kind, data)
        return _made(kind, data, kind.__name__)

    return structure


def _made(kind: type, given: Mapping[str, Any], title: str, beside: Sequence[str] = ()) -> Any:
    """An instance of a class of options; `title` is what complaints call it, `beside` are options that it stands next to."""
    options = {option.name: option for option in options_of(kind)}
    known = [*options, *beside]
    faults = [
        Fault(f"{title} has no option {key!r}", (key,), suggest(key, known) if known else f"{title} takes no options", at_key=True)
        for key in given
        if key not in options
    ]
    missing = [option for option in options.values() if option.required and option.name not in given]
    faults += [Fault(f"{title} needs the option {option.name!r}: {option.accepts}") for option in missing]
    values: dict[str, Any] = {}
    for name in [key for key in given if key in options]:
        try:
            values[name] = _structured(options[name].type, given[name])
        except Exception as error:
            faults.extend(faults_of(error, (name,)))
    if faults:
        raise Faults(*faults)
    try:
        return kind(**values)
    except Exception as error:
        raise Faults(*faults_of(error)) from error


def _unstructure_hook(kind: type) -> Callable[[Any], Any]:
    options_of(kind)  # resolves the types, which the generated function looks at
    plain: Callable[[Any], Any] = make_dict_unstructure_fn(kind, _converter(), _cattrs_omit_if_default=True, _cattrs_use_alias=True)
    python_only = [field.name for field in attrs.fields(kind) if field.metadata.get("python only")]
    return _without(python_only, plain) if python_only else plain


def _without(python_only: Sequence[str], plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Refuses instances that have what no recipe can state."""

    def unstructure(value: Any) -> Any:
        found: dict[str, Any] = plain(value)
        stated = [name for name in python_only if name in found]
        if stated:
            raise ConfigError(f"no recipe can state {' and '.join(stated)} of {type(value).__name__}: it is for Python only")
        return found

    return unstructure


def _is_pass(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Pass)


def _pass_hook(expected: type[Pass]) -> Hook:
    if expected is Pipeline:
        return _pipeline

    def structure(data: Any, _: Any) -> Pass:
        if isinstance(data, list) and issubclass(Pipeline, expected):
            return structure_passes(data)
        name, options = _entry(data)
        path = (name,) if options is not NOTHING else ()
        try:
            kind = pass_class(name)
        except ConfigError as error:
            message, _, hint = str(error).partition("; ")
            raise Faults(Fault(message, path, hint, at_key=bool(path))) from error
        if not issubclass(kind, expected):
            raise Faults(Fault(f"expected {expected.name}, found {name}"))
        try:
            return _pass(kind, options, _place(data, name))
        except Exception as error:
            raise Faults(*faults_of(error, path)) from error

    return structure


def _pipeline(data: Any, _: Any) -> Pipeline:
    if not isinstance(data, list | tuple):
        raise _mismatch(Pipeline, data)
    return Pipeline(*_structured(tuple[Pass, ...], data))


def _entry(data: Any) -> tuple[str, Any]:
    """The name of a pass, and its options as they were given."""
    if isinstance(data, str):
        return data, NOTHING
    if not isinstance(data, Mapping):
        raise Faults(Fault(f"expected the name of a pass, or a name with its options, found {show(data)}"))
    if len(data) == 1:
        return next(iter(data.items()))
    first, *others = data or [""]
    if not first:
        raise Faults(Fault("expected the name of a pass, found an empty mapping"))
    hint = f"options stand below the name, indented further: {first}: {{{others[0]}: …}}" if data[first] is None else "one item each"
    raise Faults(Fault(f"expected one pass in each item of the list, found {', '.join(data)}", hint=hint))


def _place(data: Any, name: str) -> Where | None:
    """Where the options of a pass stand; None where it has none, or is in no document."""
    return Where(str(data.node.at((name,))), dotted((*data.path, name))) if isinstance(data, Placed) else None


def _pass(kind: type[Pass], options: Any, where: Where | None) -> Pass:
    if issubclass(kind, Pipeline):
        return kind(*structure_passes([] if options in (NOTHING, None) else options))
    if options is NOTHING or options is None:
        made: Pass = _made(kind, {}, kind.name)
        return made
    if rules_option(kind) is not None:
        return _ruled(kind, options, where)
    config = config_of(kind)
    target = options_class(kind)
    value = _made(target, options, kind.name) if isinstance(options, Mapping) else _lone(target, options, kind.name)
    return value if config is None else _made_of(kind, config.name, value)


def _ruled(kind: type[Pass], given: Any, where: Where | None) -> Pass:
    """A pass that takes rules, from a lone config's options or from rules, beside the options of its own."""
    option = rules_option(kind)
    assert option is not None
    configs = _configs(kind)
    if not isinstance(given, Mapping):
        return _made_of(kind, option.name, Rules(Rule(everything, _lone(configs[0], given, kind.name), where=where)))
    names = [each.name for each in own_options(kind)]
    own = {key: given[key] for key in given if key in names}
    rest = {key: given[key] for key in given if key not in names and key not in RULE_KEYS}
    faults: list[Fault] = []
    rules: Rules | None = None
    try:
        if any(key in RULE_KEYS for key in given):
            raise_faults([_beside_rules(key, kind) for key in rest])
            rules = rules_of(given, Outcomes.of(configs, _config))
        elif rest or not own:
            raise_faults([_config_as_option(key, kind) for key in rest if key in _other_configs(kind)])
            rules = Rules(Rule(everything, _made(configs[0], rest, kind.name, [*names, *RULE_KEYS]), where=where))
    except Exception as error:
        faults.extend(faults_of(error))
    try:
        made: Pass = _made(kind, own if rules is None else {option.name: rules, **own}, kind.name)
    except Faults as error:
        faults.extend(error.faults)
    raise_faults(faults)
    return made


def _beside_rules(key: str, kind: type[Pass]) -> Fault:
    """An option that stands beside rules and is none of the pass' own."""
    config = _configs(kind)[0]
    known = [*(each.name for each in own_options(kind)), *RULE_KEYS]
    if key in _other_configs(kind):
        return _config_as_option(key, kind, " beside rules")
    if any(each.name == key for each in options_of(config)):
        name = kebab(config.__name__)
        hint = f"what is for all that no rule takes is the default: default: {{{name}: {{{key}: …}}}}"
    else:
        hint = suggest(key, known)
    return Fault(f"{kind.name} has no option {key!r} beside rules", (key,), hint, at_key=True)


def _other_configs(kind: type[Pass]) -> list[str]:
    """The names of configs that are no option of the one whose options a pass takes as its own."""
    first, *others = _configs(kind)
    taken = {each.name for each in options_of(first)}
    return [name for name in map(kebab, (config.__name__ for config in (first, *others))) if name not in taken]


def _config_as_option(key: str, kind: type[Pass], beside: str = "") -> Fault:
    """The name of a config where its pass has options."""
    hint = f"it is a config, for a rule or for what no rule takes: default: {{{key}: {{…}}}}"
    return Fault(f"{kind.name} has no option {key!r}{beside}", (key,), hint, at_key=True)


def _config(kind: type, given: Any, title: str) -> Any:
    """A config in a rule: its options, nothing for the defaults, or a lone value for its first option."""
    if given is None:
        return _made(kind, {}, title)
    return _made(kind, given, title) if isinstance(given, Mapping) else _lone(kind, given, title)


def _lone(kind: type, value: Any, title: str) -> Any:
    """An instance of a class of options from the value of its first."""
    options = options_of(kind)
    if not options:
        raise Faults(Fault(f"{title} takes no options, found {show(value)}"))
    name = options[0].name
    try:
        return _made(kind, {name: value}, title)
    except Faults as error:
        hint = _meant_as_option(value, [option.name for option in options])
        faults = (attrs.evolve(f, hint=hint or f.hint) for f in error.faults)
        raise Faults(*(attrs.evolve(f, path=f.path[1:]) if f.path[:1] == (name,) else f for f in faults)) from error


def _meant_as_option(value: Any, names: Sequence[str]) -> str:
    """What is to be written for a lone value that looks like one: `dtype:uint8`, `dtype=uint8`, a list of them; nothing for others."""
    if isinstance(value, list | tuple) and value and all(isinstance(each, Mapping) and set(each) <= set(names) for each in value):
        return "options stand below the name without dashes"
    name, _, rest = value.replace("=", ":").partition(":") if isinstance(value, str) else ("", "", "")
    return f"an option takes a colon and a space: {name.strip()}: {rest.strip()}" if rest and name.strip() in names else ""


def _made_of(kind: type[Pass], name: str, config: Any) -> Pass:
    try:
        return kind(**{name: config})
    except Exception as error:
        raise Faults(*faults_of(error)) from error


def _required(kind: type) -> bool:
    return any(option.required for option in options_of(kind))


def _by_default(kind: type[Pass]) -> Pass | None:
    return None if _required(kind) else kind()


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _union_hook(kind: Any) -> Hook:
    members = get_args(kind)

    def structure(data: Any, _: Any) -> Any:
        failures: list[Exception] = []
        for member in members:
            try:
                return _structured(member, data)
            except Exception as error:
                failures.append(error)
        deep = [f for f in failures if any(fault.path for fault in faults_of(f))]
        if len(deep) == 1:  # one member was meant, as its shape shows: say what is wrong inside
            raise deep[0]
        raise _mismatch(kind, data)

    return structure


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum))


def _choice_hook(kind: Any) -> Hook:
    choices = {a: a for a in get_args(kind)} if get_origin(kind) is Literal else {member.value: member for member in kind}

    def structure(data: Any, _: Any) -> Any:
        for value, choice in choices.items():
            if type(value) is type(data) and value == data:
                return choice
        near = suggest(data, [str(c) for c in choices]) if isinstance(data, str) else ""
        raise _mismatch(kind, data, near if near.startswith("did") else "")

    return structure


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and not issubclass(origin, str | bytes)


def _sequence_hook(kind: Any) -> Hook:
    origin, args = get_origin(kind) or kind, get_args(kind) or (Any, ...)
    build = origin if origin in (list, set, frozenset) else tuple
    fixed = origin is tuple and args[-1] is not Ellipsis

    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, list | tuple):
            raise _mismatch(kind, data)
        if fixed and len(data) != len(args):
            raise Faults(Fault(f"expected a list of {len(args)} items, found {len(data)}"))
        items: list[Any] = []
        faults: list[Fault] = []
        for index, item in enumerate(data):
            try:
                items.append(_structured(args[index] if fixed else args[0], item))
            except Exception as error:
                faults.extend(faults_of(error, (index,)))
        if faults:
            raise Faults(*faults)
        return build(items)

    return structure


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _mapping_hook(kind: Any) -> Hook:
    keys, values = get_args(kind) or (str, Any)

    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, Mapping):
            raise _mismatch(kind, data)
        made: dict[Any, Any] = {}
        faults: list[Fault] = []
        for key, value in data.items():
            try:
                made[_structured(keys, key)] = _structured(values, value)
            except Exception as error:
                faults.extend(faults_of(error, (key,)))
        if faults:
            raise Faults(*faults)
        return made

    return structure


