"""The closing table: what became of each weight, in text.

    weight        op    shape           before     after  bits   SQNR
    ─────────────────────────────────────────────────────────────────────────────────────
    conv1_weight  conv  64 × 1 × 3 × 3  1.2 KB     0.7 KB  8.50  44.1 dB
    head_weight   conv  …               12 KB      12 KB  16.00           skipped: fewer than 2048 elements
    ─────────────────────────────────────────────────────────────────────────────────────
    2 weights                           13 KB      12.7 KB

Sparsity and the use of tables have a column where a weight has them; what was done otherwise than asked for stands behind the scheme.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ir.statistics import UNIQUE_LIMIT
from mlpasses.quantities import bytes_text, printable, shape_text
from mlpasses.report import Note, OpRow, Report, WeightRow

if TYPE_CHECKING:
    from mlpasses.plan import Plan

ROWS: Final = 60
"""Rows that are shown of a longer table; rendering takes a quarter of a millisecond each, and nobody reads more."""

LINES: Final = Box("\n".join(["    ", "    ", " ── ", "    ", " ── ", " ── ", "    ", "    "]) + "\n")
"""A rule below the head and above the foot, and no more."""


def report_table(report: Report, *, rows: int | None = ROWS, errors: bool = False) -> str:
    """The closing table of a run, with notes and totals. Lines are as long as their contents.

    Of more than `rows` weights the largest are shown, and the others summed up; None shows all. `errors` adds the column of max errors.
    """
    parts = []
    if report.weights:
        parts.append(_weights(report, rows, errors))
    parts += [_ops(report.ops, rows)] if report.ops else []
    parts += _notes(report.notes, rows)
    if not parts:
        changes = sum(row.changes for row in report.passes)
        parts.append(f"{changes} changes; no weight was looked at" if changes else "nothing was changed")
    return "\n".join(parts)


def plan_table(plan: Plan, *, rows: int | None = ROWS) -> str:
    """What a pipeline would do, with what is wrong at the end. Of more than `rows` weights the largest are shown; None shows all."""
    parts = []
    if plan.rows:
        ruled = any(row.rule for row in plan.rows)
        table = grid("weight", "op", "shape", ">before", ">after", ">bits", "scheme", *(["rule"] if ruled else []))
        several = len({row.pass_name for row in plan.rows}) > 1
        places = len({row.where for row in plan.rows}) > 1
        order = sorted(range(len(plan.rows)), key=lambda index: -plan.rows[index].before)
        shown = plan.rows if rows is None else [plan.rows[index] for index in sorted(order[:rows])]
        for row in shown:
            remark = row.remark or (row.why if row.least == row.after else "")
            outcome = _outcome(row.scheme, row.skipped, remark)
            table.add_row(
                Text(f"{row.where}: {row.name}" if places else row.name),
                Text(row.op_type),
                shape_text(row.shape),
                bytes_text(row.before),
                _range(row.least, row.after),
                f"{row.bits:.2f}",
                Text(f"{row.pass_name}: {outcome}" if several else outcome),
                *([Text(row.rule)] if ruled else []),
            )
        count = len({row.key for row in plan.rows})
        more = f", {len(plan.rows) - len(shown)} smaller ones not shown" if len(shown) < len(plan.rows) else ""
        table.show_footer = True
        after = _range(plan.least, plan.after)
        totals = (f"{count} weight{'' if count == 1 else 's'}{more}", "", "", bytes_text(plan.before), after, "", "", "")
        for column, text in zip(table.columns, totals, strict=False):
            column.footer = text
        parts.append(rendered(table))
    parts += [_ops(plan.ops, rows)] if plan.ops else []
    reasons = dict.fromkeys((row.pass_name, row.why) for row in plan.rows if row.least != row.after)
    parts += [f"note: {name}: sizes depend on the numbers: {why}" for name, why in reasons]
    parts += _notes([*plan.notes, *plan.unplanned], rows)
    parts += [f"warning: {doubt}" for doubt in plan.doubts]
    parts += [f"error: {finding}" for finding in plan.findings]
    return "\n".join(parts) or "no weight would be looked at"


def _range(least: int, most: int) -> str:
    ends = dict.fromkeys((bytes_text(least), bytes_text(most)))
    return " – ".join(ends)


def weights_table(rows: Sequence[Mapping[str, Any]], *, detailed: bool = False) -> str:
    """The weights of a model, as `mlpasses.weight_facts.weight_rows` has them; `detailed` adds what else statistics say."""
    groups = any(row["groups"] is not None for row in rows)
    read = any(row.get("statistics") for row in rows)
    compared = any("sqnr" in row.get("against", ()) for row in rows)
    titles = [">groups"] * groups + [">sparsity", ">unique"] * read + [">least", ">greatest", ">mean", ">std"] * (read and detailed)
    table = grid("weight", "op", "shape", ">bytes", ">bits", *titles, *([">SQNR", ">max error"] * compared), "scheme")
    for row in rows:
        name = row["name"] if row["where"] == "main" else f"{row['where']}: {row['name']}"
        facts = [str(math.prod(row["groups"])) if row["groups"] is not None else ""] * groups
        facts += _numbers(row.get("statistics"), detailed) if read else []
        facts += _against(row.get("against", {})) if compared else []
        table.add_row(
            Text(printable(name)),
            Text(row["consumers"][0]["op_type"] if row["consumers"] else ""),
            shape_text(row["shape"]),
            bytes_text(row["bytes"]),
            f"{row['bits']:.2f}",
            *facts,
            Text("; ".join([row["scheme"], *_remarks(row)])),
        )
    return rendered(table)


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    nonfinite = (row.get("statistics") or {}).get("nonfinite", 0)
    if nonfinite:
        yield f"{nonfinite:,} NaN or infinite"
    if "unread" in row:
        yield f"not read: {row['unread']}"
    elif "unmatched" in row.get("against", {}):
        yield f"not compared: {row['against']['unmatched']}"


def _numbers(found: Mapping[str, Any] | None, detailed: bool) -> list[str]:
    if found is None:
        return [""] * (6 if detailed else 2)
    unique = f"> {UNIQUE_LIMIT:,}" if found["unique"] is None else f"{found['unique']:,}"
    ranges = ["" if found[key] is None else error_text(found[key]) for key in ("minimum", "maximum", "mean", "std")]
    return [percent(found["sparsity"]), unique, *(ranges if detailed else [])]


def _against(found: Mapping[str, Any]) -> list[str]:
    return [decibels(float(found["sqnr"])), error_text(float(found["max_error"]))] if "sqnr" in found else ["", ""]


def passes_table(report: Report) -> str:
    """How long each pass took, and how many changes it made."""
    table = grid("pass", ">changes", ">time")
    for row in report.passes:
        table.add_row(row.name, f"{row.changes:,}", f"{row.seconds:.2f} s")
    return rendered(table)


def grid(*columns: str) -> Table:
    """An empty table; a column whose title starts with `>` holds numbers."""
    table = Table(box=LINES, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="", footer_style="", show_lines=False)
    for title in columns:
        number = title.startswith(">")
        table.add_column(title.removeprefix(">"), justify="right" if number else "left", no_wrap=True)
    return table


def rendered(table: Table) -> str:
    """A table as text without colours or trailing blanks."""
    file = io.StringIO()
    Console(file=file, width=10_000, color_system=None, force_terminal=False, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def _weights(report: Report, limit: int | None, errors: bool) -> str:
    shown, rest = _largest(report.weights, limit)
    several = len({row.pass_name for row in report.weights}) > 1
    places = len({row.where for row in report.weights}) > 1
    extra = [title for title, (value, _) in MEASURED.items() if any(value(row) is not None for row in shown)]
    extra = [title for title in extra if errors or title != MAX_ERROR]
    table = grid("weight", "op", "shape", ">before", ">after", ">bits", ">SQNR", *(f">{title}" for title in extra), "")
    for row in shown:
        scheme = f"{row.pass_name}: {row.scheme}" if several else row.scheme
        table.add_row(
            Text(f"{row.where}: {row.name}" if places else row.name),
            Text(row.op_type),
            shape_text(row.shape),
            bytes_text(row.before),
            bytes_text(row.after),
            f"{row.bits:.2f}",
            decibels(row.sqnr),
            *(_measured(row, title) for title in extra),
            Text(_outcome(scheme, row.skipped, row.remark)),
        )
    blank = [""] * (len(extra) + 1)
    if rest:
        before, after = sum(row.before for row in rest), sum(row.after for row in rest)
        skipped = sum(row.skipped is not None for row in rest)
        remark = f"{skipped} of them skipped" if skipped else ""
        table.add_row(f"… and {len(rest)} smaller", "", "", bytes_text(before), bytes_text(after), "", *blank, remark)
    table.show_footer = True
    *totals, remark = _totals(report)
    for column, text in zip(table.columns, [*totals, *blank, remark], strict=True):
        column.footer = text
    return rendered(table)


def _measured(row: WeightRow, title: str) -> str:
    value, text = MEASURED[title]
    found = value(row)
    return "" if found is None else text(found)


def _outcome(scheme: str, skipped: str | None, remark: str) -> str:
    """What became of a weight: the scheme with what is different from what was asked for, or why it was left alone."""
    if skipped is not None:
        return f"skipped: {skipped}"
    return f"{scheme}; {remark}" if remark else scheme


def _totals(report: Report) -> tuple[str, ...]:
    last = {row.key: row for row in report.weights}
    numel = sum(row.numel for row in last.values())
    skipped = sum(row.skipped is not None for row in last.values())
    bits = f"{8 * report.after / numel:.2f}" if numel else ""
    count = f"{len(last)} weight{'' if len(last) == 1 else 's'}"
    remark = f"{skipped} skipped" if skipped else ""
    return count, "", "", bytes_text(report.before), bytes_text(report.after), bits, remark


def _largest(rows: Sequence[WeightRow], limit: int | None) -> tuple[list[WeightRow], list[WeightRow]]:
    """The rows to show, in their order, and the others."""
    if limit is None or len(rows) <= limit:
        return list(rows), []
    order = sorted(range(len(rows)), key=lambda index: -rows[index].before)
    shown = set(order[:limit])
    return [rows[i] for i in sorted(shown)], [row for i, row in enumerate(rows) if i not in shown]


def _ops(found: Sequence[OpRow], limit: int | None) -> str:
    ruled, several = any(row.rule for row in found), len({row.where for row in found}) > 1
    table = grid("op", "type", "pass", "config", ">changes", *(["rule"] if ruled else []))
    for row in found[:limit]:
        table.add_row(
            Text(f"{row.where}: {row.name}" if several else row.name),
            row.op_type,
            row.pass_name,
            Text(row.config),
            f"{row.changes:,}" if row.changes is not None else f"not known: {row.why}",
            *([Text(row.rule)] if ruled else []),
        )
    more = [f"… and {len(found) - limit} more ops"] if limit is not None and len(found) > limit else []
    return "\n".join([rendered(table), *more])


def _notes(notes: Sequence[Note], limit: int | None) -> list[str]:
    """One line a reason: what it holds for is counted where it is many."""
    places: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        places.setdefault((note.pass_name, note.reason), []).append(note.where)
    lines = []
    for (pass_name, reason), found in places.items():
        few = len(found) if limit is None else 3
        more = f" and {len(found) - few} more" if len(found) > few else ""
        lines.append(f"note: {pass_name}: {', '.join(found[:few])}{more}: {reason}")
    return lines


def decibels(value: float | None) -> str:
    """A signal-to-noise ratio; `exact` where nothing was lost, nothing where it was not measured."""
    if value is None:
        return ""
    return f"{value:.1f} dB" if math.isfinite(value) else "exact" if value > 0 else str(value)


def percent(value: float) -> str:
    """A share: `75.0 %`."""
    return f"{100 * value:.1f} %"


def error_text(value: float) -> str:
    """A difference in a weight's own units, to three digits: `0.00213`, `1.2e-07`."""
    return f"{value:.3g}"


MAX_ERROR: Final = "max error"
MEASURED: Final[Mapping[str, tuple[Callable[[WeightRow], float | None], Callable[[float], str]]]] = {
    MAX_ERROR: (attrgetter("max_error"), error_text),
    "sparsity": (attrgetter("sparsity"), percent),
    "LUT used": (attrgetter("lut_used"), percent),
}
"""Columns that are there if some row has them: the number, and how it is written."""
