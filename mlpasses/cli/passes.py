"""`mlpasses passes [NAME]`"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

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
    from mlpasses.options import option_docs, options_class, options_of
    from mlpasses.registry import pass_class

    kind = pass_class(name)
    options = options_of(options_class(kind))
    docs = option_docs(options_class(kind))
    if settings.as_json:
        settings.data(_as_data(kind, options, docs))
    else:
        settings.say(_as_text(kind, options, docs))


def _as_data(kind: type[Pass], options: list[Option], docs: dict[str, str]) -> dict[str, Any]:
    from mlpasses.structuring import as_plain

    return {
        "name": kind.name,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "doc": inspect.cleandoc(kind.__doc__ or ""),
        "options": [
            {
                "name": option.name,
                "accepts": option.accepts,
                "required": option.required,
                "default": as_plain(option.default_value),
                "doc": docs.get(option.field, ""),
            }
            for option in options
        ],
    }


def _as_text(kind: type[Pass], options: list[Option], docs: dict[str, str]) -> str:
    from mlpasses.structuring import as_plain
    from mlpasses.yamltree import dump_inline

    parts = [f"{kind.name} ({kind.__module__}.{kind.__qualname__})", "", inspect.cleandoc(kind.__doc__ or "")]
    parts += ["", "options:" if options else "It takes no options."]
    for option in options:
        default = "required" if option.required else f"default {dump_inline(as_plain(option.default_value))}"
        parts.append(f"  {option.name}: {option.accepts} ({default})")
        parts += [f"      {line}".rstrip() for line in docs.get(option.field, "").splitlines()]
    return "\n".join(parts)
