"""The catalogue and the recipes: complete, of one mind, and made from the templates."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.images import catalogue, packages, sbom

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
IMAGES = catalogue.load()


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.tag)
def test_an_entry_has_all_it_is_built_from(image: catalogue.Image) -> None:
    recipe, locks = ROOT / image.recipe, ROOT / image.locks
    assert re.fullmatch("[0-9a-f]{40}", image.commit)
    assert image.digest is None or re.fullmatch("sha256:[0-9a-f]{64}", image.digest)
    for name in ("base", "builder", "verify"):
        debs = packages.read_debs(locks / f"{name}.lock")
        assert len({one.name for one in debs}) == len(debs) > 3
        assert all(re.fullmatch("[0-9a-f]{64}", one.sha256) for one in debs)
    wheels = packages.read_wheels(ROOT / image.libraries)
    names = {requirement.partition("==")[0] for requirement in wheels}
    assert what_mtt_runs_with() <= names
    assert not names & {"pytest", "cmake", "pip", "mypy"}
    files = sorted(locks.glob("*.lock"))
    files += [ROOT / image.libraries] if ROOT / image.libraries not in files else []
    files += [ROOT / image.extra] if image.extra is not None else []
    lock_hash = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert f'mtt.locks="sha256:{lock_hash}"' in (recipe / "Containerfile").read_text()


def what_mtt_runs_with() -> set[str]:
    """Names of the packages that the installed mtt says it needs, with those for signing."""
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["sign"]]
    return {re.split("[^A-Za-z0-9_-]", one)[0].lower().replace("_", "-") for one in needed}


def test_a_lane_for_gpus_says_which() -> None:
    for image in IMAGES:
        if image.lane == "cuda":
            assert image.gpu is not None and set(image.gpu) == {"cuda", "oldest", "newest"}
            assert float(image.gpu["oldest"]) < float(image.gpu["newest"])
            names = "".join(packages.read_wheels(ROOT / image.libraries))
            assert "nvidia-cublas" in names and "torch==2.13.0+cpu" not in names


def test_recipes_are_those_of_the_templates(tmp_path: Path) -> None:
    """Until a recipe's digest is published the template may change; afterwards the recipe stays."""
    shutil.copytree(CONTAINERS, tmp_path / "containers")
    for image in IMAGES:
        command = [sys.executable, str(tmp_path / "containers" / "recipe.py"), image.tag]
        subprocess.run(command, check=True)
        made = tmp_path / image.recipe
        for path in made.iterdir():
            assert path.read_bytes() == (ROOT / image.recipe / path.name).read_bytes(), path.name


def test_every_version_of_every_architecture_has_its_image() -> None:
    from mtt import architecture_registry

    for name in architecture_registry.names():
        # The newest may be without one while it is being made.
        for version in range(1, architecture_registry.get(name).version):
            assert catalogue.for_version(name, version, IMAGES) is not None, f"{name}@{version}"


def test_an_image_may_serve_several_architectures() -> None:
    served = {"pet": 3, "composition": 1, "soap_bpnn": 1}
    earlier = [image for image in IMAGES if image.tag in ("pet@2", "pet@3", "mtt-verify@1")]
    for name, version in served.items():
        image = catalogue.for_version(name, version, earlier)
        assert image is not None and image.tag == "pet@3"
    for name, version in (("composition", 3), ("soap_bpnn", 3), ("mtt-verify", 1), ("mtt", 1)):
        assert catalogue.for_version(name, version, IMAGES) is None
    recipe = (CONTAINERS / "pet" / "3" / "Containerfile").read_text()
    assert 'mtt.architecture.also="composition@1 soap_bpnn@1"' in recipe


def test_of_several_images_it_is_the_last_that_serves_a_version() -> None:
    """The one before stays in the catalogue, by its own name."""
    for name, version in (("pet", 3), ("mace", 1), ("composition", 1), ("soap_bpnn", 2)):
        image = catalogue.for_version(name, version, IMAGES)
        assert image is not None and image.tag == "mtt@2"
    # Which the last one does not have: it is exactly what an upgrade leads away from.
    image = catalogue.for_version("soap_bpnn", 1, IMAGES)
    assert image is not None and image.tag == "pet@3"
    assert catalogue.find("mace@1", IMAGES).serves == {"mace": 1}


def test_later_images_are_of_later_commits() -> None:
    """Only then do they take up what the ones before them have written."""
    git = ["git", "-C", str(ROOT)]
    for number, image in enumerate(IMAGES):
        for later in IMAGES[number + 1 :]:
            if image.serves.items() & later.serves.items() and image.lane == later.lane:
                commits = [image.commit, later.commit]
                for commit in commits:
                    there = subprocess.run([*git, "cat-file", "-e", commit], check=False)
                    if there.returncode != 0:
                        pytest.skip(f"commit {commit} is not in this clone")
                order = [*git, "merge-base", "--is-ancestor", *commits]
                code = subprocess.run(order, check=False).returncode
                assert code == 0, f"{later.tag} is of no later commit than {image.tag}"


def test_an_unknown_image() -> None:
    with pytest.raises(UserError) as caught:
        catalogue.find("pet@99", IMAGES)
    assert str(caught.value) == (
        "the catalogue has no image 'pet@99'\n"
        f"  hint: it has {', '.join(image.tag for image in IMAGES)}; see mtt image list"
    )


def test_catalogues_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "versions.json"
    path.write_text('{"format": 2, "images": []}')
    with pytest.raises(UserError) as caught:
        catalogue.load(path)
    assert str(caught.value) == (
        "the catalogue of images is of format 2, and this mtt knows 1\n"
        f"  where: {path}\n"
        "  hint: update mtt"
    )
    path.write_text('{"format": 1, "images": [{"name": "pet"}]}')
    with pytest.raises(UserError) as caught:
        catalogue.load(path)
    assert str(caught.value) == (
        "the catalogue of images cannot be read: KeyError: 'lanes'\n"
        f"  where: {path}\n"
        "  hint: install mtt again"
    )


def test_bill_of_materials() -> None:
    image = catalogue.find("pet@1", IMAGES)
    locks = ROOT / image.locks
    text = sbom.text(image, [locks / "base.lock"], [locks / "python.lock"])
    assert text == sbom.text(image, [locks / "base.lock"], [locks / "python.lock"])
    found = json.loads(text)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    by_name = {one["name"]: one for one in found["components"]}
    torch = packages.read_wheels(locks / "python.lock")[f"torch=={by_name['torch']['version']}"]
    assert by_name["torch"]["hashes"] == [{"alg": "SHA-256", "content": torch}]
    assert by_name["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.")
    assert by_name["mtt"]["version"] == image.commit


def test_what_was_begun_in_an_image_is_that_ones() -> None:
    before = catalogue.find("pet@3", IMAGES)
    assert catalogue.for_version("pet", 3, IMAGES, before.digest) == before
    # Which has nothing to do with another version, nor has an image of somebody else.
    for digest in (before.digest, "sha256:" + "0" * 64):
        image = catalogue.for_version("soap_bpnn", 2, IMAGES, digest)
        assert image is not None and image.tag == "mtt@2"
