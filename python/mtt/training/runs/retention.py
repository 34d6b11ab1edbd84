"""Which checkpoints of a run's folder stay."""

from collections.abc import Iterable, Mapping

from mtt.training.runs.folder import Point


def superfluous(
    points: Iterable[Point],
    newest: Point,
    metrics: Mapping[int, float],
    keep_last: int,
    keep_best: bool,
    keep_every: int | None,
) -> list[Point]:
    """Those of ``points`` that nothing keeps, oldest first.

    What is further than ``newest`` was put there by somebody else, and is no business of ours.

    :param newest: the checkpoint just written, which always stays
    :param metrics: the metric that says which is best, by epoch
    """
    known = sorted({*points, newest})
    known = known[: known.index(newest) + 1]
    # The weights of the start are nobody's epoch.
    epochs = [point for point in known if point.step == 0 and point.epoch > 0]
    kept = set(known[-keep_last:])
    if keep_every is not None:
        kept |= {point for point in epochs if point.epoch % keep_every == 0}
    judged = [point for point in epochs if point.epoch in metrics]
    if keep_best and judged:
        kept.add(min(judged, key=lambda point: metrics[point.epoch]))
    return [point for point in known if point not in kept]
