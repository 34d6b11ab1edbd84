"""What batch systems and containers allow a process, by versions 2 and 1 of Linux' control groups."""

from collections.abc import Iterator
from pathlib import Path

_PROCESS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def memory() -> float | None:
    """Return the bytes that this process and others of its group may take, if there is a limit."""
    texts = [*_texts("", "memory.max"), *_texts("memory", "memory.limit_in_bytes")]
    known = [int(text) for text in texts if text.isdigit() and int(text) < 1 << 60]
    return float(min(known)) if known else None


def processors() -> float | None:
    """Return how many processors' time the group may take, if there is a limit: 1.5, for example."""
    shares = [text.split() for text in _texts("", "cpu.max")]
    quotas, periods = _texts("cpu", "cpu.cfs_quota_us"), _texts("cpu", "cpu.cfs_period_us")
    shares += [list(pair) for pair in zip(quotas, periods, strict=False)]
    known = [
        int(share[0]) / int(share[1])
        for share in shares
        if len(share) == 2 and all(part.isdigit() and int(part) > 0 for part in share)
    ]
    return min(known) if known else None


def _texts(controller: str, file: str) -> Iterator[str]:
    """Yield what the file says for the group of this process and for all groups around that.

    :param controller: of version 1; empty for version 2
    """
    try:
        lines = _PROCESS.read_text().splitlines()
    except OSError:
        return
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    own = next((path for _, names, path in fields if controller in names.split(",")), None)
    if own is None:
        return
    folder = _GROUPS / controller / own.strip("/")
    for place in (folder, *folder.parents):
        if not place.is_relative_to(_GROUPS):
            break
        try:
            yield (place / file).read_text().strip()
        except OSError:
            continue
