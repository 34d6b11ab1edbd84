"""Building an image where something that it takes is missing. No container tool is needed."""

import os
import shutil
from pathlib import Path

import pytest

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.files import sha256_of
from mtt.images import catalogue, packages, storage, tools


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTT_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_no_tools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["image", "build", "pet@1"]) == 2
    assert capsys.readouterr().err == (
        "error: not installed: apt-get, buildah, dpkg-deb, git, mmdebstrap, unshare\n"
        "  hint: on Debian or Ubuntu: apt-get install apt buildah dpkg git mmdebstrap util-linux\n"
    )
    assert main(["image", "build", "pet@1", "--sif"]) == 2
    assert capsys.readouterr().err == (
        "error: Apptainer is not installed: it makes .sif files\n"
        "  hint: install it, for instance from your cluster's modules or Debian's package 'apptainer', "
        "or leave --sif out\n"
    )
    assert main(["image", "pull", "pet@1", "localhost:1/pet:1"]) == 2
    assert capsys.readouterr().err == (
        "error: not installed: skopeo\n  hint: on Debian or Ubuntu: apt-get install skopeo\n"
    )


def test_an_ordinary_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["image", "build", "pet@1"]) == 2
    assert capsys.readouterr().err == (
        "error: images are built by root: their files belong to several users\n"
        "  hint: run the command with sudo; a finished image runs as any user\n"
    )


def test_no_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_SOURCES", tmp_path)
    with pytest.raises(UserError) as caught:
        catalogue.sources()
    assert str(caught.value) == (
        "an image is built from a clone of mtt's repository, and this mtt was installed without\n"
        "  hint: install it from a clone with 'pip install --editable .', and build there"
    )


def test_no_registry_that_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "pull", "pet@1"]) == 2
    assert capsys.readouterr().err == (
        "error: the catalogue names no registry for pet@1\n"
        "  hint: name one: mtt image pull pet@1 REGISTRY/NAME:TAG\n"
    )


def test_one_build_at_a_time(tmp_path: Path) -> None:
    with storage.building(tmp_path), pytest.raises(UserError) as caught, storage.building(tmp_path):
        pass
    assert str(caught.value) == (
        f"another image is being built\n  where: {tmp_path}\n  hint: wait until it is done"
    )


def test_a_program_that_fails() -> None:
    with pytest.raises(UserError) as caught:
        tools.run(["sh", "-c", "echo working; echo 'it broke' >&2; exit 7"], "making something")
    assert str(caught.value) == (
        "making something failed: sh ended with exit code 7\n    it broke\n    working"
    )
    with pytest.raises(UserError, match="^no space left on the disk while making something"):
        tools.run(["sh", "-c", "echo 'x: No space left on device'; exit 1"], "making something")


def test_a_damaged_file_of_the_cache_is_not_used(tmp_path: Path) -> None:
    lock = tmp_path / "python.lock"
    content = b"a wheel"
    (tmp_path / "one.whl").write_bytes(content)
    digest = sha256_of(tmp_path / "one.whl")
    lock.write_text(f"# a comment\none==1 --hash=sha256:{digest}\n")
    assert packages.read_wheels(lock) == {"one==1": digest}
    home = tmp_path / "wheels" / digest
    home.mkdir(parents=True)
    (tmp_path / "one.whl").rename(home / "one.whl")
    assert packages.wheels(lock, tmp_path) == [home / "one.whl"]
    (home / "one.whl").write_bytes(b"another")
    assert packages._wheel(tmp_path / "wheels", digest) is None


def test_what_is_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["image", "list"]) == 0
    shown = capsys.readouterr().out
    assert "pet@1  mtt with version 1 of the architecture PET" in shown
    assert shown.count("  not here; get it with: mtt image pull") == len(catalogue.load())


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with two versions of a package, whose lists have the newer one; apt knows only it."""
    if shutil.which("dpkg-deb") is None or os.geteuid() != 0:
        pytest.skip("Debian packages are made and fetched by root with apt and dpkg")
    pool = tmp_path / "mirror" / "pool"
    pool.mkdir(parents=True)
    for number in (1, 2):
        control = tmp_path / f"made-{number}" / "DEBIAN" / "control"
        control.parent.mkdir(parents=True)
        fields = {"Package": "mtt-trial", "Version": f"1:2.0+{number}", "Architecture": "amd64"}
        fields |= {"Maintainer": "nobody", "Description": "nothing"}
        text = "".join(f"{key}: {value}\n" for key, value in fields.items())
        control.write_text(text)
        deb = pool / f"mtt-trial_2.0+{number}_amd64.deb"
        tools.run(["dpkg-deb", "--build", control.parents[1], deb], "making a package")
        size, digest = deb.stat().st_size, sha256_of(deb)
        text += f"Filename: pool/{deb.name}\nSize: {size}\nSHA256: {digest}\n"
        (tmp_path / "mirror" / "Packages").write_text(text)
    lists = tmp_path / "lists" / "partial"
    lists.mkdir(parents=True)
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] copy:{tmp_path}/mirror ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list"; Dir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{lists.parent}"; Dir::Cache "{tmp_path}/apt"; APT::Sandbox::User "root";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    tools.run(["apt-get", "-qq", "update"], "reading the lists")
    return pool


def test_a_package_that_the_suite_has_replaced(suite: Path, tmp_path: Path) -> None:
    """The mirror still has its file; and what has another hash is not taken."""
    files = sorted(suite.iterdir())
    one, other = (
        packages.Deb("mtt-trial", f"1:2.0+{number}", sha256_of(file))
        for number, file in zip((1, 2), files, strict=True)
    )
    for deb, file in ((one, files[0]), (other, files[1])):
        (found,) = packages.debs([deb], tmp_path / f"cache-{deb.sha256}").values()
        assert found.read_bytes() == file.read_bytes()
    files[0].write_bytes(files[0].read_bytes() + b"changed")
    with pytest.raises(UserError, match="apt finds no source for the Debian packages"):
        packages.debs([one], tmp_path / "cache-changed")
    assert list((tmp_path / "cache-changed" / "debs").iterdir()) == []
