"""Pictures as inline SVG, in the colours of the page around them: no file, no script, no library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mtt.report.wording import number, safe

Pair = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Values on a line of the picture, from ``start`` to ``end`` in its units."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is drawn; those beyond the ends are drawn at the ends."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers within the ends."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, -(-(last - first) // most))
            return [10.0**power for power in range(first, last + 1, step)]
        width = _round_step((self.high - self.low) / most)
        count = range(math.ceil(self.low / width), math.floor(self.high / width) + 1)
        return [k * width for k in count]


def linear(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis that holds the values with a little room; all equal ones are in its middle."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high) * 1e-3, 1e-9)
    return Axis(low - room, high + room, start, end)


def symmetric(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis around zero."""
    largest = 1.15 * max((abs(value) for value in values), default=0.0) or 1e-9
    return Axis(-largest, largest, start, end)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= least * 0.999)


def tick_label(value: float, step: float) -> str:
    """As many digits as tell a tick from the next one."""
    if value == 0 or abs(value) < 1e-9 * step:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.{_digits(value, step)}e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _digits(value: float, step: float) -> int:
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9)
    return min(max(0, digits), 8)


def picture(width: float, height: float, title: str, body: Sequence[str]) -> str:
    """The ``svg`` element; the title is what screen readers say."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">'
        f"<title>{safe(title)}</title>{''.join(body)}</svg>"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text; ``kind`` is its class."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{safe(content)}</text>'


def line(a: Pair, b: Pair, kind: str) -> str:
    """A straight line of a class."""
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" class="{kind}"/>'


def dot(x: float, y: float, kind: str, tip: str = "", radius: float = 2.6) -> str:
    """A point that says ``tip`` under the pointer."""
    tip = f"<title>{safe(tip)}</title>" if tip else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">{tip}</circle>'


def frame(x: Axis, y: Axis, x_label: str, y_label: str) -> list[str]:
    """Axes with ticks, a grid and labels; ``y.start`` is at the bottom."""
    body = []
    for value, name in _named_ticks(x):
        at = x.place(value)
        body.append(line((at, y.start), (at, y.end), "grid"))
        body.append(text(at, y.start + 13, name, "tick", "middle"))
    for value, name in _named_ticks(y):
        at = y.place(value)
        body.append(line((x.start, at), (x.end, at), "grid"))
        body.append(text(x.start - 5, at + 3.5, name, "tick", "end"))
    body.append(line((x.start, y.start), (x.end, y.start), "axis"))
    body.append(line((x.start, y.start), (x.start, y.end), "axis"))
    body.append(text((x.start + x.end) / 2, y.start + 29, x_label, "label", "middle"))
    body.append(text(x.start - 40, y.end - 9, y_label, "label"))
    return body


def _named_ticks(axis: Axis) -> list[tuple[float, str]]:
    ticks = axis.ticks(4)
    if axis.logarithmic:
        return [(value, number(value)) for value in ticks]
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(axis.high - axis.low)
    return [(value, tick_label(value, step)) for value in ticks]
