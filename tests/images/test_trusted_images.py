"""A .sif is trusted by its own content and this user's own record, whatever lies beside it."""

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest
from small_layout import write_layout

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.files import sha256_of
from mtt.images import catalogue, commands, layout, own_place, sif, store, trusted

DIGEST, OTHER = ("sha256:" + digit * 64 for digit in "12")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images with one .sif that nobody knows, and a state of this user's."""
    images = [dataclasses.replace(image, digest=DIGEST) for image in catalogue.load()]
    monkeypatch.setattr(catalogue, "load", lambda: images)
    for name in ("images", "state", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("MTT_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images" / "pet-1.sif").write_bytes(b"an image")
    return tmp_path


@pytest.fixture
def image(folder: Path) -> Path:
    return folder / "images" / "pet-1.sif"


def refused(path: Path, digest: str | None = DIGEST) -> str:
    with pytest.raises(UserError) as caught:
        store.checked_sif(path, digest)
    return caught.value.what


def test_texts_beside_it_convince_nobody(image: Path) -> None:
    content = {"manifest": DIGEST, "sha256": sha256_of(image), "format": 1}
    record = {"format": 1, "sif": {sha256_of(image): DIGEST}}
    for name in ("pet-1.sif.json", "pet-1.json", "images.json", "pet-1.sif.sha256"):
        (image.parent / name).write_text(json.dumps({**content, **record}))
    assert refused(image).startswith("nothing that you trust says which image this .sif file is")


def test_a_record_of_the_user_counts(image: Path) -> None:
    trusted.add(sha256_of(image), DIGEST)
    assert store.checked_sif(image, DIGEST) == (image, DIGEST)
    assert store.checked_sif(image, None) == (image, DIGEST)
    # Wherever it is, and under any name.
    moved = image.rename(image.parent / "moved.sif")
    assert store.checked_sif(moved, DIGEST) == (moved, DIGEST)
    assert refused(moved, OTHER) == "the image is not the one of the catalogue"
    moved.write_bytes(b"an image!")
    assert refused(moved).startswith("nothing that you trust")


def test_the_record_is_the_users_own(image: Path) -> None:
    old = os.umask(0)
    try:
        trusted.add("a" * 64, OTHER)
        trusted.add(sha256_of(image), DIGEST)
    finally:
        os.umask(old)
    path = trusted.record_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert trusted.image_of("a" * 64) == OTHER
    for mode in (0o620, 0o602, 0o666):
        path.chmod(mode)
        assert refused(image).endswith("cannot be used: somebody else can write it")
        with pytest.raises(UserError):
            trusted.add("b" * 64, OTHER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_record_of_somebody_else(image: Path) -> None:
    trusted.add(sha256_of(image), DIGEST)
    os.chown(trusted.record_path(), 65534, 65534)
    assert refused(image).endswith("cannot be used: somebody else can write it")


def test_a_record_that_is_a_link(image: Path) -> None:
    trusted.add(sha256_of(image), DIGEST)
    path = trusted.record_path()
    path.rename(image.parent / "images.json")
    path.symlink_to(image.parent / "images.json")
    assert "cannot be used" in refused(image)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 2, "sif": {}}', '{"format": 1, "sif": [], "sif": {}}']
)
def test_a_damaged_record(image: Path, content: str) -> None:
    trusted.add(sha256_of(image), DIGEST)
    trusted.record_path().write_text(content)
    assert "cannot be used" in refused(image)


def test_what_was_made_here_is_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checked layout; the .sif that lay there and is not trusted is kept under another name."""
    digest = write_layout(folder / "images" / "pet-1")
    program = folder / "apptainer"
    program.write_text('#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done; echo "made of $2" > "$1"\n')
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program) if name == "apptainer" else None)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(sif.layout.Layout, "has_shell", lambda self: False)
    (pet,) = (entry for entry in catalogue.load() if entry.tag == "pet@1")
    built = layout.read(folder / "images" / "pet-1")
    said: list[str] = []
    commands._make_sif(pet, built, folder / "images", said.append)
    made = folder / "images" / "pet-1.sif"
    assert store.checked_sif(made, digest) == (made, digest)
    (aside,) = made.parent.glob("pet-1.sif.*")
    assert aside.read_bytes() == b"an image"
    assert said[-1].endswith(f"mtt image trust pet@1 --sha256 {sha256_of(made)}")
    assert not (made.parent / "pet-1.sif.json").exists()
    commands._make_sif(pet, built, folder / "images", said.append)
    assert said[-1] == f"{made} is there already"


def test_the_command(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = sha256_of(image)
    assert main(["image", "trust", "pet@1", "--sha256", "0" * 64]) == 2
    assert capsys.readouterr().err == (
        "error: the .sif file has another sha256 than the one that you gave\n"
        f"  where: {image}: {digest}\n"
        "  hint: do not use it before you know why; ask whoever made it\n"
    )
    assert main(["image", "trust", "pet@1", "--sha256", "0"]) == 2
    assert main(["image", "trust", "pet@1", "nothing.sif", "--sha256", digest]) == 2
    assert trusted.image_of(digest) is None
    copy = image.parent / "of-somebody.sif"
    copy.write_bytes(image.read_bytes())
    capsys.readouterr()
    assert main(["image", "trust", "pet@1", str(copy), "--sha256", digest.upper()]) == 0
    assert capsys.readouterr().out.startswith(f"{copy} is taken for pet@1 from now on ({DIGEST})")
    assert store.checked_sif(image, DIGEST) == (image, DIGEST)


# ---- what was checked is what runs ----


def test_where_others_can_write_a_copy_runs(image: Path) -> None:
    trusted.add(sha256_of(image), DIGEST)
    image.parent.chmod(0o777)
    assert not own_place.only_ours(image)
    usable, _ = store.checked_sif(image, DIGEST)
    assert usable != image and usable.name == image.name and own_place.only_ours(usable)
    image.write_bytes(b"swapped")
    assert usable.read_bytes() == b"an image"
    # Once copied, it is found again, and checked again.
    image.write_bytes(b"an image")
    assert store.checked_sif(image, DIGEST)[0] == usable
    usable.write_bytes(b"swapped")
    assert refused(image) == "the .sif file has changed while it was checked"


def test_a_swap_while_it_is_copied(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted.add(sha256_of(image), DIGEST)
    image.chmod(0o666)
    real = own_place.own_copy

    def swapped(path: Path, name: str) -> Path:
        path.write_bytes(b"swapped")
        return real(path, name)

    monkeypatch.setattr(own_place, "own_copy", swapped)
    assert refused(image) == "the .sif file has changed while it was checked"


def test_links_are_followed_before_the_check(image: Path, folder: Path) -> None:
    trusted.add(sha256_of(image), DIGEST)
    link = folder / "link.sif"
    link.symlink_to(image)
    assert store.checked_sif(link, DIGEST)[0] == image


def test_a_layout_that_others_can_write(folder: Path) -> None:
    place = folder / "images" / "pet-1"
    digest = write_layout(place)
    assert store.checked_layout(place, digest).path == place
    (blob,) = (path for path in place.rglob("*") if path.name == digest.removeprefix("sha256:"))
    blob.chmod(0o666)
    usable = store.checked_layout(place, digest)
    assert usable.path != place and own_place.only_ours(usable.path)
    blob.write_bytes(b"{}")
    assert store.checked_layout(usable.path, digest).digest == digest


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_others_can_write(folder: Path, kind: str) -> None:
    path = folder / "images" / "pet-1.sif"
    assert own_place.only_ours(path)
    if kind == "file":
        path.chmod(0o664)
    elif kind == "folder":
        path.parent.chmod(0o775)
    else:
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        (folder / "open" / "a.sif").write_bytes(b"")
        path.unlink()
        path.symlink_to(folder / "open" / "a.sif")
    assert not own_place.only_ours(path)
