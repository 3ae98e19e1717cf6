"""The table of `docs/joint-compression.md`, out of `mlpasses.compress.joint.TABLE`.

    python -m tests.docs.joint_table        # writes it into the page
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, get_args

from mlpasses.compress.joint import TABLE, Kind, Scheme
from tests.docs.test_snippets import ROOT

PAGE: Final = ROOT / "docs" / "joint-compression.md"
BEGIN: Final = "<!-- Made by `python -m tests.docs.joint_table`. -->"
END: Final = "<!-- end -->"
WORDS: Final[Mapping[Kind, str]] = {
    "floats": "floats under a mask",
    "integers": "integers with scales",
    "indices": "indices into a table of floats",
    "indices of integers": "indices into a table of integers with scales",
    "scaled indices": "indices into a table of floats, a scale behind",
    "scaled indices of integers": "indices into a table of integers with scales, a scale behind",
}
"""What a form is called there, by its kind."""


def table() -> str:
    """The table, and who the forms are from, as Markdown."""
    schemes = get_args(Scheme)
    sources = list(dict.fromkeys(TABLE[kind, each].source for kind in WORDS for each in schemes if TABLE[kind, each].becomes))
    lines = ["| values that are there | prune | quantize | palettize |", "|---|---|---|---|"]
    for kind in WORDS:
        cells = [_cell(kind, each, sources) for each in schemes]
        lines.append(f"| {WORDS[kind]} | {' | '.join(cells)} |")
    reasons = sorted({row.source for row in TABLE.values() if row.becomes is None})
    return "\n".join([
        *lines,
        "",
        "The forms are those of",
        "",
        *(f"{number}. {source}." for number, source in enumerate(sources, 1)),
        "",
        *(f"–: it is left alone, with the reason: {reason}." for reason in reasons),
    ])  # fmt: skip


def page(text: str) -> str:
    """The text of the page with the table in its place."""
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n\n{table()}\n\n{END}", text, count=1, flags=re.DOTALL)


def _cell(kind: Kind, scheme: Scheme, sources: list[str]) -> str:
    row = TABLE[kind, scheme]
    if row.becomes is None:
        return "–"
    return f"{'the same' if row.becomes == kind else WORDS[row.becomes].removesuffix(' under a mask')} ({sources.index(row.source) + 1})"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
