"""Importing large libraries in a third less time."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Import in this block what a program needs to its end; nobody looks for garbage among it.

    Python searches all objects for unused cycles again and again while modules make hundreds of thousands
    that stay, and once more at its end. After the block it leaves out all that is there by then, and
    collects as before. Where torch is imported already, it does nothing: the objects of somebody else's
    program are collected as they always are.
    """
    if "torch" in sys.modules:
        yield
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
