"""Values on the command line that are more than a text."""

import math
from argparse import ArgumentTypeError


def quantity(text: str) -> float:
    """Read a number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"expected a number that is not negative, found '{text}'")
    return value
