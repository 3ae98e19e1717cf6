"""The page on passes is what the passes say of themselves."""

from __future__ import annotations

from mlpasses.registry import BUILT_IN
from tests.docs.passes_page import GROUPS, PAGE, names_in, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it anew: python -m tests.docs.passes_page"


def test_every_built_in_pass_is_on_the_page_once() -> None:
    assert sorted(name for group in GROUPS.values() for name in names_in(group)) == sorted(BUILT_IN)
