"""`mlpasses inspect MODEL`"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlpasses.cli.common import Settings, common_options, load, size_of

if TYPE_CHECKING:
    from ir.core import Op, Program
    from ir.weights import Weight


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--ops", is_flag=True, help="List the ops, consts aside.")
@click.option("--weights", is_flag=True, help="List the weights.")
@click.option("--text", is_flag=True, help="Print the program in its textual form.")
@click.option("--stats", is_flag=True, help="With --weights: read them, and show sparsity and distinct values; with -v their range too.")
@click.option("--against", metavar="ORIGINAL", type=click.Path(path_type=Path), help="With --weights: how far they are from ORIGINAL's.")
@click.option("--match", metavar="GLOB", help="Only what has a name or an op type that matches.")
@common_options
def command(
    settings: Settings, model: Path, ops: bool, weights: bool, text: bool, match: str | None, stats: bool, against: Path | None
) -> None:
    """Show what MODEL holds: its interface, its ops by type, its weights by scheme, its metadata.

    \b
      mlpasses inspect M.mlpackage
      mlpasses inspect M.mlpackage --weights --match '*attention*'
      mlpasses inspect M-w4.mlpackage --weights --stats --against M.mlpackage
      mlpasses inspect M.mlpackage --text --match softmax
    """
    views = [name for name, given in (("ops", ops), ("weights", weights), ("text", text)) if given]
    if len(views) > 1:
        given = " and ".join(f"--{name}" for name in views)
        raise click.UsageError(f"{given} are different views: give one of them", click.get_current_context())
    what = views[0] if views else None
    if match is not None and what is None:
        raise click.UsageError("--match chooses among ops or weights: give --ops, --weights or --text", click.get_current_context())
    if what != "weights" and (stats or against is not None):
        raise click.UsageError(f"{'--stats' if stats else '--against'} is about weights: give --weights", click.get_current_context())
    program = load(model, settings)
    if what == "text":
        _text(program, match, settings)
    elif what == "ops":
        _ops(program, match, settings)
    elif what == "weights":
        _weights(program, match, settings, stats, None if against is None else load(against, settings))
    else:
        _summary(program, model, settings)


def _summary(program: Program, model: Path, settings: Settings) -> None:
    from mlpasses.quantities import bytes_text
    from mlpasses.summary import summarize, summary_text

    size = size_of(model)
    facts = summarize(program)
    if settings.as_json:
        settings.data({"model": str(model), "bytes": size, **facts})
    else:
        settings.say(f"{model}, {bytes_text(size)}")
        settings.say(summary_text(facts))


def _text(program: Program, match: str | None, settings: Settings) -> None:
    from ir.text import print_op

    found = [] if match is None else list(_matching(program, match))
    text = str(program).rstrip("\n") if match is None else "\n".join(map(print_op, found))
    if match is not None and not found:
        _warn_unmatched(match, "op", _names_of_ops(program), settings)
        if not settings.as_json:
            return
    if settings.as_json:
        settings.data({"text": text})
    else:
        settings.say(text)


def _ops(program: Program, match: str | None, settings: Settings) -> None:
    rows = [_op_row(op) for op in _matching(program, match or "*") if op.op_type != "const" or match is not None]
    if match is not None and not rows:
        _warn_unmatched(match, "op", _names_of_ops(program), settings)
    if settings.as_json:
        settings.data({"ops": rows})
        return
    width = max((len(row["op_type"]) for row in rows), default=0)
    for row in rows:
        results = ", ".join(f"{output['name']}: {output['type']}" for output in row["outputs"])
        settings.say(f"{row['op_type']:{width}}  {results or row['name']}")


def _op_row(op: Op) -> dict[str, Any]:
    function = op.function
    return {
        "function": "" if function is None else function.name,
        "name": op.name,
        "op_type": op.op_type,
        "outputs": [{"name": value.name, "type": repr(value.type)} for value in op.outputs],
    }


def _matching(program: Program, pattern: str) -> Iterator[Op]:
    from ir.walk import walk

    for op in walk(program):
        if any(fnmatchcase(name, pattern) for name in _names_of(op)):
            yield op


def _names_of(op: Op) -> tuple[str, ...]:
    return (op.op_type, op.name, *(value.name for value in op.outputs))


def _names_of_ops(program: Program) -> set[str]:
    from ir.walk import walk

    return {name for op in walk(program) for name in _names_of(op)}


def _warn_unmatched(pattern: str, noun: str, names: set[str], settings: Settings) -> None:
    """Says that `--match` found nothing, and which names are like it, or have it somewhere inside."""
    from mlpasses.nearest import closest

    inside = sorted(name for name in names if fnmatchcase(name, f"*{pattern}*"))
    near = [f"*{pattern}*"] if inside else closest(pattern, names)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    settings.warn(f"no {noun} has a name or an op type that matches {pattern!r}{hint}")


def _weights(program: Program, match: str | None, settings: Settings, stats: bool, original: Program | None) -> None:
    from mlpasses.weight_facts import missing_weights, weight_rows

    def keep(weight: Weight) -> bool:
        return match is None or _is_called(weight, match)

    rows = weight_rows(program, keep=keep, numbers=stats, original=original)
    missing = [] if original is None else missing_weights(program, original, keep)
    if match is not None and not rows:
        _warn_unmatched(match, "weight", {name for weight in program.weights() for name in _callings(weight)}, settings)
    if settings.as_json:
        left = {} if original is None else {"missing": [{"where": weight.where, "name": weight.name} for weight in missing]}
        settings.data({"weights": rows, **left})
        return
    from mlpasses.quantities import printable
    from mlpasses.tables import weights_table

    if rows or match is None:
        settings.say(weights_table(rows, detailed=settings.verbose))
    for weight in missing:
        settings.say(f"note: {printable(weight.name)} of the original, in {printable(weight.where)}: there is no weight of this name")


def _is_called(weight: Weight, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in _callings(weight))


def _callings(weight: Weight) -> tuple[str, ...]:
    """Its name, and those and the types of the ops that use it."""
    from ir.core import Op

    users = [use.user for use in weight.consumers if isinstance(use.user, Op)]
    return (weight.name, *(name for user in users for name in (user.op_type, user.name)))
