"""Every Python snippet of the documentation runs.

The snippets of a page share one namespace. They run in a new folder that holds a copy of `docs/examples` and nothing else, so that paths
are as seen from the root of a clone, and what a snippet writes goes nowhere.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = sorted(path for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"] if path.exists())
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^ *```\s*?$", re.MULTILINE | re.DOTALL)


def snippets(text: str) -> Iterator[str]:
    """The Python snippets of a page, each behind as many empty lines as precede it there, so that tracebacks show the page's lines."""
    for match in FENCE.finditer(text):
        if match["language"] == "python":
            indent = match["indent"]
            lines = [line.removeprefix(indent) for line in match["code"].splitlines(keepends=True)]
            yield "\n" * (text.count("\n", 0, match.start("code"))) + "".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if EXAMPLES.exists():
        shutil.copytree(EXAMPLES, tmp_path / "docs" / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "snippets"}
    for snippet in snippets(page.read_text(encoding="utf-8")):
        exec(compile(snippet, str(page), "exec"), names)


def test_snippets_keep_the_lines_of_their_page() -> None:
    assert list(snippets("# Title\n\n```python\na = 1\n```\n\n```sh\nls\n```\n- item\n  ```python\n  b = 2\n  ```\n")) == [
        "\n\n\na = 1\n",
        "\n\n\n\n\n\n\n\n\n\n\nb = 2\n",
    ]
