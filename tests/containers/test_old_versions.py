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
from container_users import ALL, ETHANOL, GOLDEN, IMAGES, OLDEST, Mtt, give

from mtt import checkpoint
from mtt.evaluation.predict import TargetPrediction, open_model
from mtt.images import catalogue
from mtt.inspect import describe


def image_of(path: Path) -> catalogue.Image | None:
    """The image that has the version of a checkpoint: one that is still installed may have none."""
    version = checkpoint.read_header(path).architecture
    return catalogue.for_version(version.name, version.version, list(IMAGES.values()))


# Options of models that are of later commits than these images.
NEWER = {"pet@3": ("long_range", "system_conditioning"), "mace@1": ("zbl",)}


def knows(image: catalogue.Image, path: Path) -> bool:
    """Whether an image has the options of a checkpoint, whose version it has."""
    hypers = checkpoint.read_header(path).architecture.hypers
    return not any(hypers.get(name) for name in NEWER.get(image.tag, ()))


def lives_on(path: Path) -> bool:
    """Whether the installed versions take a checkpoint up, and an image has its very version too."""
    image = image_of(path)
    return golden.lives_here(path) and image is not None and knows(image, path)


FILES = sorted(path for folder in GOLDEN.iterdir() for path in folder.glob("*.ckpt"))
GONE = [path for path in FILES if not golden.lives_here(path)]
HERE = [path for path in FILES if lives_on(path)]
# By an earlier image, which stays for those who have it.
REFUSED = [path for path in FILES if path.parent.name == "format-3_mace-1_options-2"]
REFUSED = [path for path in REFUSED if not knows(catalogue.find("mace@1", catalogue.load()), path)]


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def is_rich(path: Path) -> bool:
    """Whether there is more to a checkpoint than energies of one network."""
    header = checkpoint.read_header(path)
    model = header.options["architecture"]["model"]
    several = len(header.targets) > 1 or bool(header.seeds) or bool(header.uncertainties)
    return several or any(model.get(one) for one in ("zbl", "long_range", "system_conditioning"))


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
    """Return all outputs of a model, uncertainties and members too, for the golden systems.

    :param old: the golden checkpoint that the model is, or was made of
    """
    opened = open_model(model, "cpu")
    structures = golden.from_json(stored(old.parent)["systems"])
    if opened.conditioned:
        # Those of the stored predictions; an exported file does not say which it knows.
        charges, spins = open_model(old, "cpu").states or ([], [])
        state = {"charge": max(charges), "spin_multiplicity": max(spins)}
        structures = [structure.in_state(state) for structure in structures]
    return list(opened.predict(structures, [*opened.targets, *opened.derived.values()]))


def assert_equal(value: Any, expected: Any, path: Path, what: str, times: float = 1.0) -> None:
    atol = times * precision(path) * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol, err_msg=what)


def assert_as_stored(found: Sequence[dict[str, TargetPrediction]], path: Path) -> None:
    """Hold every target of a checkpoint's best weights to its golden file."""
    expected = stored(path.parent)["predictions"][path.stem]["best"]
    for outputs, before in zip(found, expected, strict=True):
        for target in checkpoint.read_header(path).targets:
            one = outputs[target.name]
            prefix = "" if target.name == "energy" else f"{target.name} "
            if f"{prefix}energy" in before:
                assert_equal(one.values[0], before[f"{prefix}energy"], path, f"{prefix}energy")
                assert_equal(one.forces, before[f"{prefix}forces"], path, f"{prefix}forces")
            else:
                atoms = np.array(before[f"{prefix}atoms"])
                value = atoms if target.per == "atom" else atoms.sum(axis=0)
                assert_equal(one.values, value, path, target.name)


@pytest.mark.parametrize("old", GONE if ALL else few(GONE, 2), ids=name_of)
def test_an_old_checkpoint_lives_on(images: Path, folder: Path, mtt: Mtt, old: Path) -> None:
    """Exported by its image, it predicts what its golden file says; this mtt cannot read it."""
    give(folder, old)
    if old.stem == "1":
        here = mtt("export", old.name, "--image", "never", cwd=folder)
        assert here.returncode == 2
        assert here.stderr.startswith("error: the checkpoint needs version 1 of the architecture")
    there = mtt("export", old.name, "-o", "old.pt", cwd=folder, OMP_NUM_THREADS="1")
    assert there.returncode == 0, there.stderr
    digest = IMAGES[OLDEST].digest
    assert there.stderr.splitlines()[0] == (
        f"{old.name} needs pet@1, and pet@3 is installed: running in the image pet@1 ({digest}) with "
        "apptainer"
    )
    made = describe.describe(folder / "old.pt")["made_in"]
    assert (made["image"], made["digest"], made["runtime"]) == ("pet@1", digest, "apptainer")
    assert_as_stored(predictions(folder / "old.pt", old), old)
    chain = mtt("show", "--chain", "old.pt", "--ckpt", old.name, cwd=folder)
    assert chain.returncode == 0, chain.stdout


def exported_in(image: str, folder: Path, mtt: Mtt, path: Path) -> CompletedProcess[str]:
    """Export a checkpoint as new.pt in an image, whatever versions are installed."""
    give(folder, path)
    words = ["export", path.name, "-o", "new.pt", "--no-verify", "--image", image]
    return mtt(*words, cwd=folder, OMP_NUM_THREADS="1")


@pytest.mark.parametrize("path", few(HERE, 1), ids=name_of)
def test_in_its_image_it_predicts_the_same(
    images: Path, folder: Path, mtt: Mtt, path: Path
) -> None:
    """As it did when it was new, and as it does here: upgraded, if it is of an older version.

    Of mace there is the image alone where this machine has no mace-torch.
    """
    image = image_of(path)
    assert image is not None
    done = exported_in("always", folder, mtt, path)
    assert done.returncode == 0, done.stderr
    assert describe.describe(folder / "new.pt")["made_in"]["image"] == image.tag
    found = predictions(folder / "new.pt", path)
    assert_as_stored(found, path)
    if not golden.can_be_asked(path):
        return
    targets = [target.name for target in checkpoint.read_header(path).targets]
    for here, there in zip(predictions(path, path), found, strict=True):
        assert here.keys() == there.keys()
        for name, one in here.items():
            for part in ("values", "forces", "stress"):
                value, other = getattr(one, part), getattr(there[name], part)
                assert (value is None) == (other is None)
                if value is not None:
                    # Members of an ensemble are small sums of large products, which lose a digit.
                    times = 1.0 if name in targets else 10.0
                    assert_equal(value, other, path, f"{name} {part}", times)


@pytest.mark.skipif("mace@1" not in IMAGES, reason="mace@1 is built with IMAGES=all")
@pytest.mark.parametrize("path", REFUSED, ids=name_of)
def test_what_an_image_does_not_know_is_refused(
    images: Path, folder: Path, mtt: Mtt, path: Path
) -> None:
    """A potential without its repulsion would be another one; the image of a later commit has it."""
    done = exported_in(str(images / "mace-1.sif"), folder, mtt, path)
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
    assert header.image_digest == IMAGES[OLDEST].digest
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
