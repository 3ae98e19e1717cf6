"""Quantities, and text from files, as people read them."""

from __future__ import annotations

from collections.abc import Iterable


def bytes_text(count: int) -> str:
    """`1.9 GB`: two or three digits, in powers of 1000 as file managers count."""
    value, unit = float(count), "B"
    for bigger in ("KB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, bigger
    digits = 0 if unit == "B" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def shape_text(shape: Iterable[object]) -> str:
    """`64 × 1 × 3 × 3`; `scalar` for a shape without dimensions."""
    return " × ".join(map(str, shape)) or "scalar"


def printable(text: str) -> str:
    """Text from a file on one line, without what could steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
