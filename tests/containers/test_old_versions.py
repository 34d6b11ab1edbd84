"""Checkpoints of versions that are gone from mtt live on in their images, with the same numbers.

What can be upgraded is compared with its image too: an upgrade that changes a prediction is a bug.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import golden_runs as golden
import numpy as np
import pytest
from container_users import ETHANOL, GOLDEN, IMAGES, Mtt, give

from mtt import checkpoint
from mtt.evaluation.predict import TargetPrediction, open_model
from mtt.images import catalogue
from mtt.inspect import describe


def image_of(path: Path) -> catalogue.Image | None:
    """The image that has the version of a checkpoint: one that is still installed may have none."""
    version = checkpoint.read_header(path).architecture
    return catalogue.for_version(version.name, version.version, list(IMAGES.values()))


FILES = sorted(path for folder in GOLDEN.iterdir() for path in folder.glob("*.ckpt"))
GONE = [path for path in FILES if not golden.lives_here(path)]
HERE = [path for path in FILES if golden.lives_here(path) and image_of(path) is not None]
MACE = [path for path in HERE if checkpoint.read_header(path).architecture.name == "mace"]
# The image of mace@1 was made of an earlier commit than this option.
NEWER = [path for path in MACE if checkpoint.read_header(path).architecture.hypers.get("zbl")]


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def is_rich(path: Path) -> bool:
    """Whether there is more to a checkpoint than energies of one network."""
    header = checkpoint.read_header(path)
    model = header.options["architecture"]["model"]
    several = len(header.targets) > 1 or bool(header.seeds)
    return several or bool(header.uncertainties) or bool(model.get("zbl"))


def few(paths: Sequence[Path], number: int) -> list[Path]:
    """The first ones of each version, and what is rich; each export takes seconds."""
    found = []
    for folder in sorted({path.parent for path in paths}):
        inside = [path for path in paths if path.parent == folder]
        plain = [path for path in inside if not is_rich(path)]
        found += plain[:number] + [path for path in inside if path not in plain]
    return found


@functools.cache
def stored(folder: Path) -> dict[str, Any]:
    """The golden systems, and what the checkpoints of a folder predicted for them when they were new."""
    found: dict[str, Any] = json.loads((folder / "predictions.json").read_text())
    return found


def precision(path: Path) -> float:
    """Of what a model file computes; the golden predictions are in float64 in any case."""
    return 1e-12 if checkpoint.read_header(path).precision == 64 else 3e-6


def predictions(model: Path, old: Path) -> list[dict[str, TargetPrediction]]:
    """Return all outputs of a model, uncertainties and members too, for the golden systems."""
    opened = open_model(model, "cpu")
    structures = golden.from_json(stored(old.parent)["systems"])
    return list(opened.predict(structures, [*opened.targets, *opened.derived.values()]))


def assert_equal(value: Any, expected: Any, path: Path, what: str) -> None:
    atol = precision(path) * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol, err_msg=what)


@pytest.mark.parametrize("old", GONE, ids=name_of)
def test_an_old_checkpoint_lives_on(images: Path, folder: Path, mtt: Mtt, old: Path) -> None:
    """Exported by its image, it predicts what its golden file says; this mtt cannot read it."""
    give(folder, old)
    if old.stem == "1":
        here = mtt("export", old.name, "--image", "never", cwd=folder)
        assert here.returncode == 2
        assert here.stderr.startswith("error: the checkpoint needs version 1 of the architecture")
    there = mtt("export", old.name, "-o", "old.pt", cwd=folder, OMP_NUM_THREADS="1")
    assert there.returncode == 0, there.stderr
    digest = IMAGES["pet@1"].digest
    assert there.stderr.splitlines()[0] == (
        f"{old.name} needs pet@1, and pet@3 is installed: running in the image pet@1 ({digest}) with "
        "apptainer"
    )
    made = describe.describe(folder / "old.pt")["made_in"]
    assert (made["image"], made["digest"], made["runtime"]) == ("pet@1", digest, "apptainer")
    expected = stored(old.parent)["predictions"][old.stem]["best"]
    for outputs, before in zip(predictions(folder / "old.pt", old), expected, strict=True):
        (one,) = outputs.values()
        assert_equal(one.values[0], before["energy"], old, "energy")
        assert_equal(one.forces, before["forces"], old, "forces")
    chain = mtt("show", "--chain", "old.pt", "--ckpt", old.name, cwd=folder)
    assert chain.returncode == 0, chain.stdout


@pytest.mark.parametrize("path", few([path for path in HERE if path not in MACE], 1), ids=name_of)
def test_here_and_in_its_image_it_predicts_the_same(
    images: Path, folder: Path, mtt: Mtt, path: Path
) -> None:
    """Upgraded if it is of an older version, and as it is if not; the image has its very version."""
    give(folder, path)
    image = image_of(path)
    assert image is not None
    found = {}
    for when in ("never", "always"):
        words = ["export", path.name, "-o", f"{when}.pt", "--no-verify", "--image", when]
        done = mtt(*words, cwd=folder, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        found[when] = predictions(folder / f"{when}.pt", path)
        made = describe.describe(folder / f"{when}.pt").get("made_in", {})
        assert made.get("image") == (None if when == "never" else image.tag)
    for here, there in zip(found["never"], found["always"], strict=True):
        assert (
            here.keys()
            == there.keys()
            >= {target.name for target in checkpoint.read_header(path).targets}
        )
        for name, one in here.items():
            for part in ("values", "forces", "stress"):
                value, other = getattr(one, part), getattr(there[name], part)
                assert (value is None) == (other is None)
                if value is not None:
                    assert_equal(value, other, path, f"{name} {part}")


def exported_in_its_image(folder: Path, mtt: Mtt, path: Path) -> CompletedProcess[str]:
    """Export a checkpoint as new.pt, whatever versions are installed."""
    give(folder, path)
    words = ["export", path.name, "-o", "new.pt", "--no-verify", "--image", "always"]
    return mtt(*words, cwd=folder, OMP_NUM_THREADS="1")


@pytest.mark.parametrize("path", [path for path in MACE if path not in NEWER], ids=name_of)
def test_mace_lives_in_an_image_of_its_own(
    images: Path, folder: Path, mtt: Mtt, path: Path
) -> None:
    """Which has mace-torch, so that this machine needs none: it predicts what the golden file says."""
    done = exported_in_its_image(folder, mtt, path)
    assert done.returncode == 0, done.stderr
    assert describe.describe(folder / "new.pt")["made_in"]["image"] == "mace@1"
    expected = stored(path.parent)["predictions"][path.stem]["best"]
    for outputs, before in zip(predictions(folder / "new.pt", path), expected, strict=True):
        # Of uncertainties the golden files have the part of each atom, and a model that of the system.
        for name in (target.name for target in checkpoint.read_header(path).targets):
            one = outputs[name]
            prefix = "" if name == "energy" else f"{name} "
            if f"{prefix}energy" in before:
                assert_equal(one.values[0], before[f"{prefix}energy"], path, f"{prefix}energy")
                assert_equal(one.forces, before[f"{prefix}forces"], path, f"{prefix}forces")
            else:
                assert_equal(one.values, before[f"{prefix}atoms"], path, name)


@pytest.mark.parametrize("path", NEWER, ids=name_of)
def test_what_an_image_does_not_know_is_refused(
    images: Path, folder: Path, mtt: Mtt, path: Path
) -> None:
    """A potential without its repulsion would be another one."""
    done = exported_in_its_image(folder, mtt, path)
    assert done.returncode == 2 and not (folder / "new.pt").exists()
    assert "the checkpoint's model hypers are not those of mace: zbl" in done.stderr


def test_a_run_of_an_old_version_from_start_to_end(images: Path, folder: Path, mtt: Mtt) -> None:
    """Options that ask for pet@1, training gone on with from its checkpoint, and its errors."""
    give(folder, *(ETHANOL / name for name in ("ethanol.xyz", "options.yaml", "eval.yaml")))
    kinks = ["-r", "architecture.model.cutoff_function=Cosine"]
    words = ["train", "options.yaml", *kinks, "-r", "architecture.training.num_epochs="]
    words[-1] += "1"
    first = mtt(*words, "-r", "architecture.version=1", cwd=folder, OMP_NUM_THREADS="1")
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("options.yaml asks for pet@1, and pet@3 is installed: running")
    header = checkpoint.read_header(folder / "model.ckpt")
    assert header.architecture.version == 1
    assert header.image_digest == IMAGES["pet@1"].digest
    words[-1] = words[-1].replace("=1", "=2")
    more = mtt(*words, "-c", "model.ckpt", cwd=folder, OMP_NUM_THREADS="1")
    assert more.returncode == 0, more.stderr
    assert more.stderr.startswith("model.ckpt needs pet@1, and pet@3 is installed: running in")
    assert checkpoint.read_header(folder / "model.ckpt").position.epoch == 2
    done = mtt("eval", "model.ckpt", "eval.yaml", cwd=folder, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "predictions.json").read_text())
    assert report["made_in"]["image"] == "pet@1"


def test_an_image_that_is_not_there(images: Path, folder: Path, mtt: Mtt, tmp_path: Path) -> None:
    give(folder, GONE[0])
    # podman's own storage may have the image from a test before.
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/graph"\n'
    )
    empty = {"MTT_IMAGES": str(tmp_path), "CONTAINERS_STORAGE_CONF": f"{tmp_path}/storage.conf"}
    done = mtt("export", GONE[0].name, cwd=folder, **empty)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: {GONE[0].name} needs pet@1, and pet@3 is installed, but the image is not here\n"
    )
