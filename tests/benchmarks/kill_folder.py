"""What a run leaves on disk: is it whole, is it bounded, and is it the same as another run's?"""

import math
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mtt import checkpoint
from mtt.errors import UserError
from mtt.options import load_options

# Of one process that was struck at the worst instant, with room for what the next has not cleared.
MOST_TEMPORARIES = 4
# What is younger may be in use, for all that a process knows that writes in the working folder.
MINUTE = 60.0
Evidence = tuple[dict[str, Any], dict[str, Any]]


@dataclass
class Found:
    """What was in a folder after a life: figures, and everything that should not be."""

    checkpoints: int
    temporaries: int
    step: int
    written: float
    damaged: list[str]
    wrong: list[str]


def prepare(folder: Path, options: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.yaml").write_text(yaml.safe_dump(options, sort_keys=False))


def run_folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("outputs/*/*/"))


def temporaries(folder: Path) -> list[Path]:
    """Files whose writing has not ended, or was cut off."""
    found = []
    for place in (folder, *run_folders(folder)):
        found += [one for one in place.glob(".*") if one.is_file() and ".lock" not in one.name]
    return found


def examine(folder: Path, allowed: int) -> Found:
    """Read everything as a user would find it; ``allowed`` checkpoints may be in a run's folder."""
    found = Found(0, len(temporaries(folder)), -1, -math.inf, [], [])
    lasting = sum(one.parent != folder or _age(one) > MINUTE for one in temporaries(folder))
    if lasting > MOST_TEMPORARIES:
        found.wrong.append(f"{lasting} temporary files")
    for place in run_folders(folder):
        kept = sorted(place.glob("[!.]*.ckpt"))
        found.checkpoints = max(found.checkpoints, len(kept))
        if len(kept) > allowed:
            found.wrong.append(f"{len(kept)} checkpoints, where options allow {allowed}")
        for path in kept:
            _read(path, found)
    if (folder / "model.ckpt").exists():
        _read(folder / "model.ckpt", found)
    _check_model(folder / "model.pt", found)
    found.wrong += [f"there is {path.name}" for path in folder.glob("error*.log")]
    return found


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _read(path: Path, found: Found) -> None:
    try:
        header, _ = checkpoint.read(path)
    except UserError as error:
        found.damaged.append(f"{path.name}: {error.what}")
        return
    if header.position.step >= found.step:
        found.step = header.position.step
        found.written = max(found.written, path.stat().st_mtime)


def _check_model(path: Path, found: Found) -> None:
    if not path.exists():
        return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except zipfile.BadZipFile as error:
        bad = str(error)
    if bad is not None:
        found.damaged.append(f"{path.name}: {bad}")


def differences(folder: Path, reference: Path, exports: bool) -> list[str]:
    """Everything in which a finished run differs from another, bit by bit."""
    found = _different_checkpoints(folder / "model.ckpt", reference / "model.ckpt")
    if _metrics(folder) != _metrics(reference):
        found.append("metrics.csv")
    if exports:
        found += _different_models(folder, reference)
    return found


def _different_checkpoints(path: Path, reference: Path) -> list[str]:
    (header, tensors), (header_0, tensors_0) = checkpoint.read(path), checkpoint.read(reference)
    names = sorted(tensors.keys() | tensors_0.keys())
    found = [
        f"header {name}"
        for name in vars(header)
        if getattr(header, name) != getattr(header_0, name)
    ]
    return found + [
        f"tensor {name}"
        for name in names
        if name not in tensors or name not in tensors_0 or not _same(tensors[name], tensors_0[name])
    ]


def _same(one: Any, other: Any) -> bool:
    described = (one.dtype, one.shape) == (other.dtype, other.shape)
    return described and bool(one.numpy().tobytes() == other.numpy().tobytes())


def _metrics(folder: Path) -> str:
    return (run_folders(folder)[-1] / "metrics.csv").read_text()


def _different_models(folder: Path, reference: Path) -> list[str]:
    """Energies and forces of the exported models, and what is in the files."""
    one, other = outputs(folder), outputs(reference)
    one |= _records(folder / "model.pt")
    other |= _records(reference / "model.pt")
    return [
        f"model.pt {name}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _records(path: Path) -> dict[str, bytes]:
    """The files in the archive. TorchScript lists the constants of a module in the order of a set,
    which each process has its own of, and has an identity made from that."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    return {
        name: b"\n".join(sorted(content.splitlines())) if "/code/" in name else content
        for name, content in found.items()
        if not name.endswith("/serialization_id")
    }


def outputs(folder: Path, count: int = 8) -> dict[str, bytes]:
    """Return what ``model.pt`` gives of every target for some of the validation structures."""
    from mtt.evaluation.predict import open_model
    from mtt.training.run_data import read_run_data

    validation = read_run_data(load_options(folder / "options.yaml")).validation
    structures = [validation[index] for index in range(min(count, len(validation)))]
    predictions = list(open_model(folder / "model.pt", "cpu").predict(structures))
    return {
        f"{kind} of {name}": b"".join(
            getattr(prediction[name], kind).tobytes()
            for prediction in predictions
            if getattr(prediction[name], kind) is not None
        )
        for name in predictions[0]
        for kind in ("values", "forces")
    }
