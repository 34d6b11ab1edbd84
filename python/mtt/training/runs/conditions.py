"""What decides the last bits of a run besides its options: packages, threads, processor, device.

Each part of a run is recorded with its conditions. A run that resumes under others says so: its bits may
not be those that it would have had without the break.
"""

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from mtt import architecture_registry
from mtt.architectures import kernels
from mtt.checkpoint import Conditions, Header, package_versions
from mtt.printable import printable

# Of all packages, those whose code computes with floating-point numbers while a model is trained.
_PACKAGES: Final = ("mtt", "torch", "numpy", "vesin")
_CALLED: Final = {
    "threads": "the number of threads",
    "processor": "the processor",
    "instructions": "the kind of instructions",
    "device": "the device",
    "kernels": "the origin of kernels",
}
_LONGEST: Final = 100
_CPU_INFO: Final = Path("/proc/cpuinfo")


def here(device: torch.device, architecture: str) -> dict[str, str]:
    """Return the conditions of this process, which computes on ``device``.

    :param architecture: of the model; the package of a plug-in is one of them
    """
    plugin = architecture_registry.package_of(architecture)
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return {
        "threads": str(torch.get_num_threads()),
        "processor": f"{_processor()} ({platform.machine()})",
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
        "device": device.type + name,
        # Of the set of instructions above; those that are missing are replaced by torch's.
        **({} if device.type != "cpu" else {"kernels": "torch" if kernels.missing() else "mtt"}),
        **_of(package_versions()),
        **({} if plugin is None else {plugin[0]: plugin[1]}),
    }


def threads_of(header: Header | None) -> int | None:
    """Return the number of threads that the last step of a run was computed with, if it is recorded."""
    return None if header is None else threads_in(_parts(header)[-1])


def threads_in(part: Conditions) -> int | None:
    """Return the number of threads of a part of a run, if it is recorded."""
    text = part.values.get("threads", "")
    return int(text) if re.fullmatch(r"[1-9]\d{0,4}", text) else None


def _parts(header: Header) -> list[Conditions]:
    """Return the conditions of the parts of a run, but for those in which nothing was computed."""
    at = (header.position.epoch, header.position.step)
    parts = list(header.conditions) or [Conditions(0, 0, _of(header.packages))]
    while len(parts) > 1 and (parts[-1].epoch, parts[-1].step) == at:
        parts.pop()
    return parts


def carried_on(header: Header | None, now: Mapping[str, str]) -> tuple[list[Conditions], list[str]]:
    """Return the conditions of all parts of a run, and what has changed at its last break.

    :param header: of the checkpoint that the run resumes from; None for a new run
    """
    if header is None:
        return [Conditions(0, 0, dict(now))], []
    at = (header.position.epoch, header.position.step)
    parts = _parts(header)
    changes = differences(parts[-1].values, now)
    if changes:
        parts.append(Conditions(*at, dict(now)))
    return parts, changes


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what has changed from what to what; what was not recorded may have changed as well."""
    unknown = [_CALLED.get(name, name) for name in now if name not in before]
    changes = [
        f"{_CALLED.get(name, name)} was {_shown(before[name])}, and is {_shown(value)} now"
        for name, value in now.items()
        if name in before and before[name] != value
    ]
    return changes + [f"the checkpoint does not say {', '.join(unknown)}"] * bool(unknown)


def _shown(value: str) -> str:
    """Return a value as it may be printed: checkpoints come from anywhere, and it is one line."""
    return printable(value, _LONGEST)


def _of(packages: Mapping[str, str]) -> dict[str, str]:
    return {name: packages[name] for name in _PACKAGES if name in packages}


def _processor() -> str:
    """Return the model of the processor, as Linux calls it, or what Python knows of it."""
    try:
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("model name", "cpu model", "hardware"):
                return " ".join(value.split())
    except OSError:
        pass
    return platform.processor() or "unknown"
