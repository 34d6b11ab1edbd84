"""Images that are not what they should be are never used, and the message says why."""

import json
from pathlib import Path

import pytest
from small_layout import write_layout

from mtt.errors import UserError
from mtt.images import layout, store


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write_layout(tmp_path / "pet-1")
    return tmp_path / "pet-1"


def message(path: Path, digest: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        store.checked_layout(path, digest)
    return str(caught.value)


def test_a_whole_layout(image: Path) -> None:
    found = store.checked_layout(image, layout.digest_of(image))
    assert found.digest == layout.digest_of(image)
    assert found.labels == {"org.opencontainers.image.title": "pet@1"}
    assert found.unpacked == 10240  # the smallest tar archive
    assert found.size == sum(path.stat().st_size for path in (image / "blobs/sha256").iterdir())


def test_a_layer_that_was_tampered_with(image: Path) -> None:
    (layer,) = layout.read(image).layers
    path = layout.blob(image, layer)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    expected = (
        f"the image is damaged or has been tampered with: the content of the part {layer} is another\n"
        f"  where: {image}\n"
        "  hint: move it away, and build or pull it again"
    )
    assert message(image) == expected
    path.unlink()
    assert message(image).startswith(
        f"the image is damaged or has been tampered with: the part {layer} is missing\n"
    )


def test_a_manifest_that_names_a_file_elsewhere(image: Path) -> None:
    index = json.loads((image / "index.json").read_text())
    index["manifests"][0]["digest"] = "sha256:../../../secret"
    (image / "index.json").write_text(json.dumps(index))
    assert message(image) == f"the layout's index names no image manifest\n  where: {image}"


def test_another_image_than_the_one_expected(image: Path) -> None:
    found, expected = layout.digest_of(image), "sha256:" + "0" * 64
    assert message(image, expected) == (
        "the image is not the one of the catalogue\n"
        f"  where: {image}\n"
        f"  hint: its digest is {found}, and the catalogue has {expected}; move it away, and build or "
        "pull it again"
    )


def test_an_image_for_another_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    write_layout(tmp_path / "pet-1", architecture="arm64")
    assert message(tmp_path / "pet-1") == (
        "the image is for processors of type arm64, and this machine's is amd64\n"
        f"  where: {tmp_path / 'pet-1'}\n"
        "  hint: run it on another machine, or build the image on a machine of type amd64"
    )


def test_a_folder_that_is_no_layout(tmp_path: Path) -> None:
    assert message(tmp_path) == (
        "not an OCI layout of one image\n"
        f"  where: {tmp_path}\n"
        "  hint: its index.json: FileNotFoundError: [Errno 2] No such file or directory: "
        f"'{tmp_path / 'index.json'}'"
    )


def test_an_index_that_two_programs_read_differently(image: Path) -> None:
    """Programs written in Go take names of other case too, and the last one counts."""
    index = json.loads((image / "index.json").read_text())
    good = layout.digest_of(image)
    evil = [{**index["manifests"][0], "digest": "sha256:" + "e" * 64}]
    text = json.dumps(index)
    for changed in (
        json.dumps({**index, "Manifests": evil}),
        json.dumps({**index, "manifestS": evil}),
        json.dumps({**index, "manifests": [{**index["manifests"][0], "Digest": "sha256:0"}]}),
        text[:-1] + f', "manifests": {json.dumps(evil)}}}',
        json.dumps({**index, "manifests": index["manifests"] * 2}),
    ):
        (image / "index.json").write_text(changed)
        assert message(image, good).startswith("not an OCI layout of one image\n"), changed
    (image / "index.json").write_text(text)
    assert store.checked_layout(image, good).digest == good
