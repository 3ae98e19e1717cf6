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
@click.option("--ops", "what", flag_value="ops", default=None, help="List the ops, consts aside.")
@click.option("--weights", "what", flag_value="weights", help="List the weights.")
@click.option("--text", "what", flag_value="text", help="Print the program in its textual form.")
@click.option("--stats", is_flag=True, help="With --weights: read them, and show sparsity and distinct values; with -v their range too.")
@click.option("--against", metavar="ORIGINAL", type=click.Path(path_type=Path), help="With --weights: how far they are from ORIGINAL's.")
@click.option("--match", metavar="GLOB", help="Only what has a name or an op type that matches.")
@common_options
def command(settings: Settings, model: Path, what: str | None, match: str | None, stats: bool, against: Path | None) -> None:
    """Show what MODEL holds: its interface, its ops by type, its weights by scheme, its metadata.

    \b
      mlpasses inspect M.mlpackage
      mlpasses inspect M.mlpackage --weights --match '*attention*'
      mlpasses inspect M-w4.mlpackage --weights --stats --against M.mlpackage
      mlpasses inspect M.mlpackage --text --match softmax
    """
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

    text = str(program).rstrip("\n") if match is None else "\n".join(print_op(op) for op in _matching(program, match))
    if settings.as_json:
        settings.data({"text": text})
    else:
        settings.say(text)


def _ops(program: Program, match: str | None, settings: Settings) -> None:
    rows = [_op_row(op) for op in _matching(program, match or "*") if op.op_type != "const" or match is not None]
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
        if any(fnmatchcase(name, pattern) for name in (op.op_type, op.name, *(value.name for value in op.outputs))):
            yield op


def _weights(program: Program, match: str | None, settings: Settings, stats: bool, original: Program | None) -> None:
    from mlpasses.weight_facts import missing_weights, weight_rows

    def keep(weight: Weight) -> bool:
        return match is None or _is_called(weight, match)

    rows = list(weight_rows(program, keep=keep, numbers=stats, original=original))
    missing = [] if original is None else missing_weights(program, original, keep)
    if settings.as_json:
        left = {} if original is None else {"missing": [{"where": weight.where, "name": weight.name} for weight in missing]}
        settings.data({"weights": rows, **left})
        return
    from mlpasses.quantities import printable
    from mlpasses.tables import weights_table

    settings.say(weights_table(rows, detailed=settings.verbose))
    for weight in missing:
        settings.say(f"note: {printable(weight.name)} of the original, in {printable(weight.where)}: there is no weight of this name")


def _is_called(weight: Weight, pattern: str) -> bool:
    from ir.core import Op

    users = [use.user for use in weight.consumers if isinstance(use.user, Op)]
    return any(fnmatchcase(name, pattern) for name in (weight.name, *(name for user in users for name in (user.op_type, user.name))))
