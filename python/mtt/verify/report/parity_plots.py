"""What a report has to draw: margins of all checks, parity and errors, and time by family."""

import math
from collections.abc import Sequence

from mtt.report import svg
from mtt.report.wording import number
from mtt.verify.report.report import Check, Point, Report

# More points hide each other, and make the page slow.
_MOST_POINTS = 1500
_LOWEST_RATIO, _HIGHEST_RATIO = 1e-6, 1e3
_ROW = 15.0


def margins(report: Report) -> str:
    """Measured over tolerance of every check that measures, on a logarithmic axis; empty if none does."""
    measured = [(check, check.used) for check in report.checks if check.used is not None]
    if not measured:
        return ""
    positive = [used for _, used in measured if used > 0]
    clipped = [min(max(used, _LOWEST_RATIO), _HIGHEST_RATIO) for used in [*positive, 2.0]]
    low = 10.0 ** math.floor(math.log10(min(clipped)))
    high = 10.0 ** math.ceil(math.log10(max(clipped)))
    height = 34 + _ROW * len(measured)
    x = svg.Axis(min(low, 0.01), high, 250, 690, logarithmic=True)
    body = []
    for value in x.ticks(8):
        at = x.place(value)
        body.append(svg.line((at, 18), (at, height - 14), "grid"))
        body.append(svg.text(at, height - 2, number(value), "tick", "middle"))
    at = x.place(1.0)
    body.append(svg.line((at, 14), (at, height - 14), "limit"))
    body.append(svg.text(at, 10, "tolerance", "tick", "middle"))
    for row, (check, used) in enumerate(measured):
        y = 27 + _ROW * row
        kind = "bad" if check.status == "fail" else "good"
        where = x.place(used) if used > 0 else x.start
        body.append(svg.text(242, y + 3.5, _short(check.label, 44), "name", "end"))
        body.append(svg.line((x.start, y), (where, y), f"stem {kind}"))
        body.append(svg.dot(where, y, kind, check.numbers, 3.4))
        percent = f"{number(100 * used, 2)} %" if used < _HIGHEST_RATIO else "far beyond"
        body.append(svg.text(700, y + 3.5, percent, f"tick {kind}-text"))
    return svg.picture(760, height, "measured over tolerance, by check", body)


def plots(check: Check) -> list[str]:
    """The pictures of a check's series: parity and errors, or a curve."""
    points = _thinned(check.series)
    if not points:
        return []
    if check.family == "PARITY":
        return [_parity(check, points), _errors(check, points)]
    return [_curve(check, points)]


def times(report: Report) -> str:
    """Seconds by family, so that the cost of each is visible."""
    spent = {name: sum(c.seconds for c in checks) for name, checks in report.families().items()}
    longest = max(spent.values(), default=0.0)
    if longest <= 0:
        return ""
    body = []
    for row, (family, seconds) in enumerate(spent.items()):
        y = 4 + 18 * row
        width = 420 * seconds / longest
        body.append(svg.text(82, y + 11, _short(family, 12), "name", "end"))
        body.append(f'<rect x="90" y="{y:.1f}" width="{width:.1f}" height="13" class="bar"/>')
        body.append(svg.text(96 + width, y + 11, f"{seconds:.2f} s", "tick"))
    return svg.picture(600, 18 * len(spent) + 6, "seconds by family", body)


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most so many: always the ones that differ most, and others evenly."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    order = sorted(range(len(points)), key=lambda k: -abs(points[k].y - points[k].x))
    kept = set(order[: _MOST_POINTS // 3])
    kept.update(range(0, len(points), -(-len(points) // (2 * _MOST_POINTS // 3))))
    return [points[k] for k in sorted(kept)]


def _parity(check: Check, points: Sequence[Point]) -> str:
    both = [point.x for point in points] + [point.y for point in points]
    x, y = svg.linear(both, 62, 312), svg.linear(both, 240, 26)
    unit = f" / {check.unit}" if check.unit else ""
    body = svg.frame(
        x, y, f"reference{unit}", f"{_short(check.name_and_target, 30)}: this file{unit}"
    )
    body.append(svg.line((x.start, y.start), (x.end, y.end), "diagonal"))
    for point in points:
        tip = f"{point.label}: {number(point.x, 8)}, {number(point.y, 8)}"
        body.append(svg.dot(x.place(point.x), y.place(point.y), "point", tip))
    return svg.picture(336, 276, f"{check.label}: file against reference", body)


def _errors(check: Check, points: Sequence[Point]) -> str:
    errors = [point.y - point.x for point in points]
    limit = check.tolerance
    # A line far outside would press all points into one.
    near = limit is not None and (limit < 1e3 * _largest(errors) or not any(errors))
    shown = [*errors, limit] if limit is not None and near else errors
    x = svg.linear([point.x for point in points], 72, 322)
    y = svg.symmetric(shown, 240, 26)
    unit = f" / {check.unit}" if check.unit else ""
    body = svg.frame(x, y, f"reference{unit}", f"file - reference{unit}")
    for value in (limit, -limit) if limit is not None and limit in shown else ():
        body.append(svg.line((x.start, y.place(value)), (x.end, y.place(value)), "limit"))
    for point, error in zip(points, errors, strict=True):
        kind = "point" if limit is None or abs(error) <= limit else "bad"
        tip = f"{point.label}: {number(error)}"
        body.append(svg.dot(x.place(point.x), y.place(error), kind, tip))
    return svg.picture(346, 276, f"{check.label}: error by reference", body)


def _curve(check: Check, points: Sequence[Point]) -> str:
    values = [point.y for point in points]
    wide = min(values) > 0 and max(values) > 100 * min(values)
    y = svg.linear(values, 240, 26)
    if wide:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        y = svg.Axis(10.0**low, 10.0**high, 240, 26, logarithmic=True)
    x = svg.linear([point.x for point in points], 62, 652)
    unit = f" / {check.unit}" if check.unit else ""
    body = svg.frame(x, y, "", f"{_short(check.name_and_target, 60)}{unit}")
    if check.tolerance is not None and y.low < check.tolerance < y.high:
        at = y.place(check.tolerance)
        body.append(svg.line((x.start, at), (x.end, at), "limit"))
    for point in points:
        tip = f"{point.label}: {number(point.x)}, {number(point.y)}"
        body.append(svg.dot(x.place(point.x), y.place(point.y), "point", tip))
    return svg.picture(676, 262, check.label, body)


def _largest(values: Sequence[float]) -> float:
    return max((abs(value) for value in values), default=0.0)


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
