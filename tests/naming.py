"""Files without a name that are given one, which is what packages are made of where the system can do it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest


def _is_possible(folder: Path) -> bool:
    """Whether the system and a file system can do it: asked of them, not of what is tested."""
    named = folder / f"mlpasses-named-{os.urandom(8).hex()}"
    try:
        descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
        try:
            os.link(f"/proc/self/fd/{descriptor}", named, src_dir_fd=descriptor, follow_symlinks=True)
        finally:
            os.close(descriptor)
        named.unlink()
    except (OSError, AttributeError):
        return False
    return True


needs_naming: Final = pytest.mark.skipif(
    not _is_possible(Path(tempfile.gettempdir())), reason="files without a name cannot be given one here"
)


def refuse_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts nameless files on another file system, as it were."""

    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
