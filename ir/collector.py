"""The garbage collector, held back while a program is made or read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Lets no collection run inside.

    A program is all references and no garbage, and each full collection visits every one of them. With 50,000 ops: printing 0.7 s rather
    than 0.8 to 2.2 s, cloning 0.45 s rather than 1.0 s.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _age()
            gc.enable()


def _age() -> None:
    """Moves what was made into the oldest generation: else the next collection of the youngest visits all of it (0.17 s for 50,000 ops).

    Freezing and unfreezing does that, and nothing else where nobody else has frozen anything.
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()
