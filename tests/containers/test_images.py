"""Images as they are built: small, complete, and whole or not there at all."""

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from container_users import IMAGES, OLDEST, VERIFIER, Mtt

from mtt.images import layout, storage, store

MB = 1e6
WITH_MTT = [tag for tag in IMAGES if not tag.startswith("mtt-verify@")]
STEM = IMAGES[VERIFIER].stem


def contents(path: Path) -> dict[str, int]:
    """Sizes of all files in an image, by name."""
    found: dict[str, int] = {}
    for layer in layout.read(path).layers:
        with tarfile.open(layout.blob(path, layer)) as archive:
            found |= {entry.name: entry.size for entry in archive if entry.isfile()}
    return found


@pytest.mark.parametrize(
    ("tag", "unpacked", "packed"),
    [*((tag, 1600, 500) for tag in WITH_MTT), (VERIFIER, 600, 250)],
)
def test_images_are_small_and_say_what_they_are(
    images: Path, tag: str, unpacked: int, packed: int
) -> None:
    image = IMAGES[tag]
    found = store.checked_layout(store.layout_of(image, images), image.digest)
    sif = store.sif_of(image, images)
    sizes = f"{found.unpacked / MB:.0f} MB unpacked, SIF {sif.stat().st_size / MB:.0f} MB"
    print(f"{tag}: {sizes}")
    assert found.unpacked < unpacked * MB and sif.stat().st_size < packed * MB
    assert found.labels["org.opencontainers.image.title"] == tag
    assert found.labels["org.opencontainers.image.revision"] == image.commit
    assert found.labels["mtt.locks"].startswith("sha256:")
    bill = json.loads((images / f"{image.stem}.sbom.cdx.json").read_text())
    assert bill["metadata"]["component"]["name"] == image.name


@pytest.mark.parametrize("tag", WITH_MTT)
def test_nothing_is_inside_that_nobody_needs(images: Path, tag: str) -> None:
    names = contents(images / IMAGES[tag].stem)
    assert "usr/share/mtt/sbom.cdx.json" in names
    programs = {name.rpartition("/")[2] for name in names if "/bin/" in f"/{name}"}
    assert {"mtt", "mtt-verify"} <= programs
    assert not programs & {"gcc", "g++", "cc", "ld", "pip", "apt-get", "cmake", "ninja", "pytest"}
    site = "opt/mtt/lib/python3.11/site-packages/"
    inside = [name.removeprefix(site) for name in names if name.startswith(site)]
    assert not [name for name in inside if "/tests/" in name and not name.startswith("torch/")]
    assert not [name for name in inside if name.endswith((".h", ".a", ".cpp", ".whl"))]


def test_no_python_in_the_verifier(images: Path) -> None:
    names = contents(images / STEM)
    assert [name for name in names if "python" in name.lower() or name.endswith(".py")] == []
    assert "opt/verify/mtt/bin/mtt-verify" in names


def test_a_build_that_is_killed_leaves_no_image(mtt: Mtt, images: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MTT_IMAGES": str(tmp_path)}
    command = [sys.executable, "-m", "mtt", "image", "build", VERIFIER]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        cache = storage.cache_folder()
        while process.poll() is None and not list(tmp_path.glob(".building-*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / STEM).exists()
    assert list(cache.glob("building-*"))
    time.sleep(1.1)
    again = mtt("image", "build", VERIFIER, MTT_IMAGES=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        STEM,
        f"{STEM}.sbom.cdx.json",
    ]
    assert not list(cache.glob("building-*"))


def test_a_full_disk(mtt: Mtt, images: Path, small_disk: Path) -> None:
    result = mtt("image", "build", VERIFIER, MTT_IMAGES=str(small_disk))
    assert result.returncode == 2
    assert result.stderr == (
        f"error: no space left on the disk while writing {VERIFIER}\n"
        "  hint: free some space, or name another place in XDG_CACHE_HOME and MTT_IMAGES; no half "
        "image was kept\n"
    )
    assert list(small_disk.iterdir()) == []


def wait_for(address: str) -> None:
    """Until a server answers there."""
    host, _, port = address.partition(":")
    for _ in range(300):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at {address}")


def test_an_image_moved_through_a_registry(mtt: Mtt, images: Path, tmp_path: Path) -> None:
    """Debian's docker-registry on the loopback device."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = tmp_path / "registry.yml"
    settings.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
        "log: {accesslog: {disabled: true}, level: error}\n"
    )
    image = IMAGES[VERIFIER]
    reference = f"{address}/mtt/verify:1"
    with subprocess.Popen(
        ["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL
    ) as registry:
        try:
            wait_for(address)
            pushed = mtt("image", "push", image.tag, reference, "--plain-http")
            assert pushed.stderr == ""
            assert pushed.stdout == f"pushed {address}/mtt/verify@{image.digest}\n"
            elsewhere = tmp_path / "elsewhere"
            words = ["image", "pull", image.tag, reference, "--plain-http"]
            pulled = mtt(*words, MTT_IMAGES=str(elsewhere))
            assert (pulled.returncode, pulled.stderr) == (0, "")
            assert pulled.stdout == f"{elsewhere / image.stem}: {image.digest}\n"
            other = mtt("image", "pull", OLDEST, *words[3:], MTT_IMAGES=str(elsewhere))
            assert other.returncode == 2
            assert other.stderr == (
                "error: the image is not the one of the catalogue\n"
                f"  where: {reference}\n"
                f"  hint: its digest is {image.digest}, and the catalogue has "
                f"{IMAGES[OLDEST].digest}; move it away, and build or pull it again\n"
            )
            assert not (elsewhere / IMAGES[OLDEST].stem).exists()
        finally:
            registry.terminate()
