"""`mlpasses passes [NAME]`"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from mlpasses.cli.common import Settings, common_options

if TYPE_CHECKING:
    from mlpasses.options import Option
    from mlpasses.passes import Pass
    from mlpasses.registry import Entry


@click.command("passes")
@click.argument("name", required=False)
@common_options
def command(settings: Settings, name: str | None) -> None:
    """List the passes that are installed, or explain the pass NAME with its options."""
    if name is None:
        _list(settings)
    else:
        _explain(name, settings)


def _list(settings: Settings) -> None:
    from mlpasses.errors import ConfigError
    from mlpasses.registry import registry

    known = registry()
    found: list[tuple[Entry, str]] = []
    problems = list(known.conflicts.values())
    for entry in known.entries.values():
        try:
            found.append((entry, entry.load().summary()))
        except ConfigError as error:
            problems.append(str(error))
    if settings.as_json:
        passes = [{"name": entry.name, "class": entry.target, "package": entry.origin, "summary": line} for entry, line in found]
        settings.data({"passes": passes, "problems": problems})
    else:
        _print_list(found, settings)
    for problem in problems:
        settings.warn(problem)


def _print_list(found: list[tuple[Entry, str]], settings: Settings) -> None:
    from mlpasses.registry import OWN

    width = max((len(entry.name) for entry, _ in found), default=0)
    for entry, line in found:
        origin = "" if entry.origin == OWN else f" ({entry.origin})"
        settings.say(f"{entry.name:{width}}  {line}{origin}".rstrip())


def _explain(name: str, settings: Settings) -> None:
    from mlpasses.op_pass import OpPass
    from mlpasses.options import options_class, own_options, rules_option
    from mlpasses.passes import kebab
    from mlpasses.pipeline import Pipeline
    from mlpasses.registry import pass_class

    kind = pass_class(name)
    configs: tuple[type, ...] = getattr(kind, "configs", ()) if rules_option(kind) is not None else ()
    options = {kebab(config.__name__): _described(config) for config in configs}
    own = _described(kind, own_options(kind)) if configs else _described(options_class(kind))
    doc = inspect.cleandoc(kind.__doc__ or "")
    if settings.as_json:
        described = {"name": kind.name, "class": f"{kind.__module__}:{kind.__qualname__}", "doc": doc, **_declared(kind), "options": own}
        settings.data({**described, "configs": options} if configs else described)
        return
    settings.say(f"{kind.name} ({kind.__module__}.{kind.__qualname__})\n\n{doc}\n\n{_declaration(kind)}\n")
    if own or not configs:
        lone = "It takes a list of passes." if issubclass(kind, Pipeline) else "It takes no options."
        settings.say("\n".join(["options:", *_as_text(own)]) if own else lone)
    for config, fields in options.items():
        lone = "options, or " if config == next(iter(options)) else ""
        settings.say("\n".join([f"{lone}{config}: {{…}} in a rule:", *_as_text(fields)]))
    if configs:
        settings.say(_RULES.format(config=next(iter(options))) + ("" if issubclass(kind, OpPass) else _CONFLICTS))


_RULES: Final = """\
rules:
  rules: [{{op_type: conv, {config}: {{…}}}}, {{name: "*head*", skip: "the reason"}}]; the first that matches decides
  default: {{{config}: {{…}}}} or {{skip: true}}, for what no rule matches"""
_CONFLICTS: Final = """
  conflicts: strictest (the default), first, skip or error, where the uses of a weight come out differently"""


def _declared(kind: type[Pass]) -> dict[str, Any]:
    """What a pass declares, as plain data. What a pass made of others preserves depends on them, unless it says so itself."""
    from mlpasses.pipeline import Composite

    depends = issubclass(kind, Composite) and not kind.preserves
    return {
        "min_opset": kind.min_opset and kind.min_opset.target,
        "preserves": None if depends else sorted(word.value for word in kind.preserves),
    }


def _declaration(kind: type[Pass]) -> str:
    said = _declared(kind)
    kept = said["preserves"]
    parts = [f"preserves: {'what its passes do' if kept is None else ', '.join(kept) or 'nothing'}"]
    return "\n".join([*parts, *([f"needs: {said['min_opset']} or later"] if said["min_opset"] else [])])


def _described(kind: type, options: list[Option] | None = None) -> list[dict[str, Any]]:
    """The options of a class, or those that are given, as plain data."""
    from mlpasses.options import option_docs, options_of
    from mlpasses.structuring import as_plain

    docs = option_docs(kind)
    return [
        {
            "name": option.name,
            "accepts": option.accepts,
            "required": option.required,
            "default": as_plain(option.default_value),
            "doc": docs.get(option.field, ""),
        }
        for option in (options_of(kind) if options is None else options)
    ]


def _as_text(options: list[dict[str, Any]]) -> Iterator[str]:
    from mlpasses.yamltree import dump_inline

    for option in options:
        default = "required" if option["required"] else f"default {dump_inline(option['default'])}"
        yield f"  {option['name']}: {option['accepts']} ({default})"
        yield from (f"      {line}".rstrip() for line in option["doc"].splitlines())
