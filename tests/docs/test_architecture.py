"""The page on the architecture knows every module there is, and none that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_snippets import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = ("ir", "ir/mil", "ir/verify", "mlpasses", "mlpasses/compress", "mlpasses/config", "mlpasses/forms")
"""What the page goes through module by module; of other folders it says what they are for."""


def rooms(folder: str) -> list[str]:
    """The modules and folders of code in a folder, folders with a slash behind."""
    found = sorted((ROOT / folder).iterdir())
    files = [path.name for path in found if path.suffix == ".py" and path.name != "__init__.py"]
    return files + [f"{path.name}/" for path in found if path.is_dir() and any(path.glob("*.py"))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_has_its_place(folder: str) -> None:
    assert [name for name in rooms(folder) if f"`{name}`" not in TEXT] == []


def test_every_module_that_is_named_exists() -> None:
    homes = [ROOT, *(ROOT / folder for folder in (*FOLDERS, "mlpasses/runtime"))]
    named: list[str] = re.findall(r"`([\w/]+\.py)`", TEXT)
    assert [name for name in named if not any(Path(home, name).exists() for home in homes)] == []
