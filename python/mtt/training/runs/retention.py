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
    epochs = [one for one in known if one.step == 0 and one.epoch > 0]
    kept = set(known[-keep_last:])
    if keep_every is not None:
        kept |= {one for one in epochs if one.epoch % keep_every == 0}
    judged = [one for one in epochs if one.epoch in metrics]
    if keep_best and judged:
        kept.add(min(judged, key=lambda one: metrics[one.epoch]))
    return [one for one in known if one not in kept]
