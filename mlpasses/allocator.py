"""What is asked of the C library's allocator: the one setting that is made for the whole process, once, by the first work on weights."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
"""As malloc.h has them."""
LARGE: Final = 16 << 20
"""Bytes of the largest temporaries; with twice as many free, memory goes back to the system."""


@cache
def keep_freed_memory() -> None:
    """Has glibc hand out again what was freed, rather than give it back to the system as soon as a block or what is free is beyond 128 KiB.

    By itself it learns that from the largest block that was freed, and work on pieces frees none: the system would clear fresh pages for
    every temporary, in more time than to sort what is in it. Other allocators are left as they are.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(MMAP_THRESHOLD, LARGE)
        tune(TRIM_THRESHOLD, 2 * LARGE)
