"""When a command runs in an image, in which, and what it sees there. No container tool is needed."""

import dataclasses
import json
import os
import stat
import zipfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from small_layout import write_layout

from mtt.__main__ import main
from mtt.cli import parse
from mtt.cli.arguments import flags_only_here, only_here
from mtt.errors import UserError
from mtt.files import sha256_of
from mtt.images import catalogue, dispatch, runtimes, trusted
from mtt.images.runtimes import Mounts, Runnable

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/checkpoints"
# Of pet@1: one that no exact upgrade leads from, and one that is upgraded; and one of pet@2.
OLD = GOLDEN / "format-2_pet-1_options-1" / "1.ckpt"
UPGRADED = GOLDEN / "format-2_pet-1_options-1" / "0.ckpt"
NEW = GOLDEN / "format-2_pet-2_options-1" / "0.ckpt"
DIGEST = "sha256:" + "1" * 64
UNKNOWN = "nothing that you trust says which image this .sif file is: it was not made here, or has changed"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkpoint of pet@1, no images, and no program that runs them."""
    (tmp_path / "here").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MTT_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: _which(tmp_path / "bin", name))
    Path("old.ckpt").write_bytes(OLD.read_bytes())
    with zipfile.ZipFile(tmp_path / "made.pt", "w") as archive:
        archive.writestr("made/data.pkl", b"1")
    return tmp_path


def _which(folder: Path, name: str) -> str | None:
    return str(folder / name) if (folder / name).exists() else None


@pytest.fixture
def sif(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the image, and is the one of the catalogue."""
    images = [dataclasses.replace(one, digest=DIGEST) for one in catalogue.load()]
    monkeypatch.setattr(catalogue, "load", lambda: images)
    (folder / "images").mkdir()
    path = folder / "images" / "pet-1.sif"
    path.write_bytes(b"an image")
    trusted.add(sha256_of(path), DIGEST)
    return path


def program(folder: Path, name: str, script: str, works: bool = True) -> None:
    """Put a program that stands for a container runtime where programs are looked for.

    It says a version, and leaves a model file that was made in advance where the script says ``make``.
    """
    path = folder / "bin" / name
    version = 'case "$*" in *--version) echo "mtt 0.1.0"; exit 0 ;; esac' if works else ""
    made = f'make() {{ cp "{folder}/made.pt" "$1"; }}'
    path.write_text(f"#!/bin/sh\n{version}\n{made}\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def needed(
    checkpoint: Path | None, when: str = "auto", options: dispatch.Asked | None = None
) -> dispatch.Need | None:
    return dispatch.what_is_needed(checkpoint, when, options)


def test_an_installed_version_needs_no_image(folder: Path) -> None:
    assert needed(NEW) is None
    assert needed(NEW, "always") == dispatch.Need(
        catalogue.find("pet@2", catalogue.load()), "pet@2", "asked for with --image always"
    )


def test_a_version_without_an_exact_upgrade_needs_its_image(folder: Path) -> None:
    found = needed(Path("old.ckpt"))
    assert found is not None and found.image is not None
    assert found.image.tag == "pet@1"
    assert found.why == "old.ckpt needs pet@1, and pet@3 is installed"


def test_an_exact_upgrade_is_preferred(folder: Path) -> None:
    assert needed(UPGRADED) is None
    found = needed(UPGRADED, "always")
    assert found is not None and found.image is not None and found.image.tag == "pet@1"


def test_options_may_ask_for_an_old_version(folder: Path) -> None:
    def asked(*words: str) -> dispatch.Asked | None:
        return dispatch._asked_for(parse(["train", "options.yaml", *words]))

    Path("options.yaml").write_text("architecture: {name: pet, version: 1}\n")
    found = needed(None, "auto", asked())
    assert found is not None and found.image is not None and found.image.tag == "pet@1"
    assert found.why == "options.yaml asks for pet@1, and pet@3 is installed"
    # A checkpoint that would be upgraded goes on as it began.
    assert needed(UPGRADED, "auto", asked()) == found
    assert needed(None, "auto", asked("-r", "architecture.version=3")) is None
    assert needed(None, "auto", asked("-r", "architecture.version=9")) is None
    older = needed(None, "auto", asked("-r", "architecture.version=2"))
    assert older is not None and older.image is not None and older.image.tag == "pet@2"
    Path("options.yaml").write_text("architecture: pet\n")
    assert needed(None, "auto", asked()) is None
    assert needed(None, "auto", asked("-r", "architecture.version=1")) == found
    assert needed(None, "always", asked()) == dispatch.Need(
        catalogue.for_version("pet", 3, catalogue.load()), "pet@3", "asked for with --image always"
    )
    Path("options.yaml").write_text("architecture: [\n")
    assert needed(None, "auto", asked()) is None


def test_training_of_an_old_version_needs_its_image(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("options.yaml").write_text("architecture: {name: pet, version: 1}\ntraining_set: a.xyz\n")
    assert main(["train", "options.yaml"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: options.yaml asks for pet@1, and pet@3 is installed, but the image is not here\n"
    )
    assert main(["train", "options.yaml", "--image", "never"]) == 2
    assert "version 1 of 'pet' is not installed; version 3 is" in capsys.readouterr().err


def test_what_is_no_checkpoint_is_left_to_the_command(folder: Path) -> None:
    Path("old.ckpt").write_bytes(b"something else")
    assert needed(Path("old.ckpt")) is None


def test_no_image_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "old.ckpt"]) == 2
    assert capsys.readouterr().err == (
        "error: old.ckpt needs pet@1, and pet@3 is installed, but the image is not here\n"
        f"  where: {folder / 'images'}\n"
        "  hint: get it with 'mtt image pull pet@1 REGISTRY/NAME:TAG --sif' or 'mtt image build pet@1 "
        "--sif', and give the same command again\n"
    )
    never = Namespace(image="never", command_line=["export", "old.ckpt"])
    assert not dispatch.in_image(never, Path("old.ckpt"), [Path("old.pt")])
    assert not Path("old.pt").exists()


def test_nothing_that_runs_it(folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(
        folder,
        "apptainer",
        "echo first >&2; echo 'no user namespaces' >&2; printf '\\033[0m' >&2; exit 255",
        works=False,
    )
    assert main(["export", "old.ckpt"]) == 2
    assert capsys.readouterr().err == (
        "error: old.ckpt needs pet@1, and pet@3 is installed, but nothing here can run the image\n"
        "  where: apptainer with pet-1.sif: no user namespaces; singularity with pet-1.sif: not installed\n"
        "  hint: install Apptainer or podman, or run it where they are: apptainer run pet-1.sif export "
        "old.ckpt\n"
    )


RUNS = 'printf "%s\\n" "$@" > "$OUT"; make ../new.pt'


def test_the_very_same_command(
    folder: Path,
    sif: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OUT", str(folder / "words"))
    program(folder, "singularity", RUNS)
    assert main(["export", "old.ckpt", "--image=auto", "-o", "../new.pt"]) == 0
    assert capsys.readouterr().err == (
        f"old.ckpt needs pet@1, and pet@3 is installed: running in the image pet@1 ({DIGEST}) with "
        "singularity\n"
    )
    words = (folder / "words").read_text().splitlines()
    assert words[-5:] == [str(sif), "export", "old.ckpt", "-o", "../new.pt"]
    here = folder / "here"
    assert [one for one in words if one.startswith("type=")] == [
        f"type=bind,source={folder},destination={folder}",
    ]
    assert f"--pwd={here}" in words and f"MTT_IMAGE_DIGEST={DIGEST}" in words


def test_exit_codes_are_those_of_the_command(
    folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(folder, "apptainer", "exit 3")
    with pytest.raises(SystemExit) as ended:
        main(["export", "old.ckpt"])
    assert ended.value.code == 3
    program(folder, "apptainer", "kill -9 $$")
    with pytest.raises(SystemExit) as ended:
        main(["export", "old.ckpt"])
    assert ended.value.code == 137


@pytest.mark.parametrize("content", [b"another image", b"an image!"])
def test_an_image_that_was_changed_is_not_run(
    folder: Path, sif: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    program(folder, "apptainer", "exit 0")
    sif.write_bytes(content)
    assert main(["export", "old.ckpt"]) == 2
    assert capsys.readouterr().err == (
        f"error: {UNKNOWN}\n"
        f"  where: {sif} (sha256 {sha256_of(sif)})\n"
        "  hint: make it again with 'mtt image build pet@1 --sif' or 'mtt image pull pet@1 --sif'; or, if "
        "you have its sha256 from whoever made it: mtt image trust pet@1 --sha256 HEX\n"
    )


def test_where_the_model_file_was_made_is_in_it(
    folder: Path, sif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = {"subject": [{"digest": {"sha256": sha256_of(folder / "made.pt")}}]}
    (folder / "made.json").write_text(json.dumps(statement))
    script = f"make old.pt; cp {folder}/made.json old.pt.intoto.json"
    program(folder, "apptainer", script)
    assert main(["export", "old.ckpt"]) == 0
    with zipfile.ZipFile("old.pt") as archive:
        assert json.loads(archive.read(f"made/{dispatch.RECORD}")) == {
            "command": ["mtt", "export", "old.ckpt"],
            "digest": DIGEST,
            "image": "pet@1",
            "runtime": "apptainer",
            "why": "old.ckpt needs pet@1, and pet@3 is installed",
        }
    statement["subject"][0]["digest"]["sha256"] = sha256_of(Path("old.pt"))
    assert json.loads(Path("old.pt.intoto.json").read_text()) == statement


def test_where_predictions_were_made_is_beside_them(
    folder: Path, sif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "errors.json").write_text('{"model": "old.ckpt"}')
    Path("eval.yaml").write_text("systems: a.xyz\ntargets: {energy: {}}\n")
    Path("a.xyz").write_text("1\nenergy=1 pbc=FFF\nH 0 0 0\n")
    script = f"cp {folder}/errors.json out.json; touch out.extxyz"
    program(folder, "apptainer", script)
    assert main(["eval", "old.ckpt", "eval.yaml", "--output", "out.extxyz"]) == 0
    said = json.loads(Path("out.json").read_text())
    assert said["model"] == "old.ckpt" and said["made_in"]["digest"] == DIGEST


def test_a_good_form_of_an_image_is_enough(
    folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(folder, "apptainer", "make old.pt")
    write_layout(folder / "images" / "pet-1")
    assert main(["export", "old.ckpt"]) == 0  # the layout, of another digest, is not even read
    assert "left out" not in capsys.readouterr().err
    sif.write_bytes(b"another image")
    assert main(["export", "old.ckpt"]) == 2
    program(folder, "podman", f"printf '{DIGEST} sha256:7\\n'; make old.pt")
    assert main(["export", "old.ckpt"]) == 0
    assert capsys.readouterr().err.endswith(
        f"with podman\nwarning: {sif} (sha256 {sha256_of(sif)}) is left out: {UNKNOWN}\n"
    )


def test_what_a_link_leads_to_is_seen_too(folder: Path) -> None:
    (folder / "scratch").mkdir()
    (folder / "scratch" / "data.xyz").touch()
    Path("data.xyz").symlink_to("../scratch/data.xyz")
    Path("options.yaml").write_text("training_set: data.xyz\n")
    found = dispatch.mounts_for(parse(["train", "options.yaml"]), [Path("model.pt")])
    assert found.readable == [folder / "scratch" / "data.xyz"]


def test_a_runtime_that_runs_nothing(
    folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old file of that name is not said to be from there."""
    make = (folder / "made.pt").read_bytes()
    Path("old.pt").write_bytes(make)
    program(folder, "apptainer", "exit 0", works=False)
    assert main(["export", "old.ckpt"]) == 2
    assert "apptainer with pet-1.sif: it ran nothing: no version" in capsys.readouterr().err
    program(folder, "apptainer", "exit 0")
    assert main(["export", "old.ckpt"]) == 2
    said = capsys.readouterr().err
    assert "the image pet@1 ended without an error, and has not written old.pt\n" in said
    assert Path("old.pt").read_bytes() == make


def test_an_image_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(folder, "apptainer", "make old.pt")
    Path("mine.sif").write_bytes(b"mine")
    assert main(["export", "old.ckpt", "--image", "mine.sif"]) == 0
    assert capsys.readouterr().err == (
        f"asked for with --image mine.sif: running in the image {folder / 'here' / 'mine.sif'} (digest "
        "not checked) with apptainer\n"
        "warning: nothing that you trust says what mine.sif is: its digest is not checked\n"
    )
    assert main(["export", "old.ckpt", "--image", "alway"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no image at alway\n"
        "  hint: --image takes auto, never, always, a .sif file or the folder of an OCI layout\n"
    )


def test_an_image_of_another_digest_by_name(
    folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(folder, "podman", "make old.pt")
    digest = write_layout(folder / "mine")
    assert main(["export", "old.ckpt", "--image", str(folder / "mine")]) == 0
    assert capsys.readouterr().err == (
        f"asked for with --image {folder / 'mine'}: running in the image oci:{folder}/mine ({digest}) with podman\n"
        f"warning: mine is not the image of the catalogue, {DIGEST}\n"
    )


def test_an_image_in_the_storage_of_a_container_engine(
    folder: Path, sif: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sif.unlink()
    name = "sha256:" + "7" * 64
    listing = f"printf 'sha256:0 other\n{DIGEST} {name}\n'"
    program(
        folder,
        "docker",
        f'[ "$1" = images ] && {{ {listing}; exit 0; }}; echo "$*" > said; make old.pt',
    )
    assert main(["export", "old.ckpt"]) == 0
    assert capsys.readouterr().err == (
        f"old.ckpt needs pet@1, and pet@3 is installed: running in the image pet@1 ({DIGEST}) with "
        "docker\n"
    )
    assert Path("said").read_text().endswith(f" {name} export old.ckpt\n")


def test_with_a_gpu_the_image_for_gpus_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = [one for one in catalogue.load() if one.tag == "pet@2"]
    assert [one.tag for one in dispatch._lanes(image)] == ["pet@2"]
    monkeypatch.setattr(dispatch, "has_gpu", lambda: True)
    assert [one.tag for one in dispatch._lanes(image)] == ["pet@2-cuda", "pet@2"]


def test_training_sees_its_data_and_its_folder(folder: Path) -> None:
    (folder / "data").mkdir()
    for name in ("a.xyz", "b.xyz"):
        (folder / "data" / name).touch()
    Path("own.xyz").touch()
    text = "training_set: {systems: ../data/a.xyz}\ntest_set: [own.xyz, gone.xyz]\n"
    Path("options.yaml").write_text(text)
    words = ["train", "options.yaml", "-c", "old.ckpt", "-r", "validation_set=../data/b.xyz"]
    found = dispatch.mounts_for(parse(words), [Path("model.pt")])
    here = folder / "here"
    assert found.writable == [here]
    assert found.readable == [folder / "data" / "a.xyz", folder / "data" / "b.xyz"]


def test_the_current_folder_is_there_even_if_nothing_in_it_is_used(folder: Path) -> None:
    outside = [folder / "a,b.ckpt"]
    mounts = Mounts(folder / "here", outside, [folder / "out"], empty=folder / "empty")
    assert sorted(mounts.mounts()) == sorted(
        [
            f"type=bind,source={folder}/empty,destination={folder}/here,ro",
            f'type=bind,"source={folder}/a,b.ckpt","destination={folder}/a,b.ckpt",ro',
            f"type=bind,source={folder}/out,destination={folder}/out",
        ]
    )


def test_command_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*runtimes._PASSED, "SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 99)
    mounts = Mounts(Path("/d"), [Path("/i/old.ckpt")], [Path("/d")])
    flags = ["--mount", "type=bind,source=/d,destination=/d"]
    flags += ["--mount", "type=bind,source=/i/old.ckpt,destination=/i/old.ckpt,ro"]
    assert Runnable("apptainer", "x.sif", None).command(["eval"], mounts) == [
        *["apptainer", "--quiet", "run", "--containall", "--net", "--network=none", "--pwd=/d"],
        *flags,
        *["--env", "OMP_NUM_THREADS=3", "x.sif", "eval"],
    ]
    words = Runnable("apptainer", "oci:x", None, ("/bin/mtt", "-q")).command(["show", "$x"], mounts)
    assert words[2] == "exec" and words[-5:] == ["oci:x", "/bin/mtt", "-q", "show", "$x"]
    assert Runnable("podman", "oci:x", None).command(["eval"], mounts) == [
        *[
            "podman",
            "run",
            "--rm",
            "--network=none",
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=all",
        ],
        *["--security-opt=no-new-privileges", "--security-opt=label=disable", "--user=1234:99"],
        *["--userns=keep-id", "--workdir=/d", *flags],
        *["--env", "HOME=/tmp", "--env", "OMP_NUM_THREADS=3", "oci:x", "eval"],
    ]


def test_a_file_from_elsewhere_must_be_here_for_an_image(folder: Path) -> None:
    arguments = Namespace(image="auto", command_line=["export", "https://host.example/old.ckpt"])
    with pytest.raises(UserError) as raised:
        dispatch.in_image(
            arguments, Path("old.ckpt"), [Path("old.pt")], "https://host.example/old.ckpt"
        )
    assert str(raised.value) == (
        "old.ckpt needs pet@1, and pet@3 is installed: the image has no network, so the checkpoint "
        "must be here\n"
        "  where: https://host.example/old.ckpt\n"
        "  hint: download it, and give its path"
    )


def test_an_old_image_is_given_no_newer_options() -> None:
    words = ["export", "a.ckpt", "--image=always", "--require-signature", "lab.pub", "--offline"]
    flags = parse(["export", "a.ckpt"]).only_here
    assert dispatch.handed_on([*words, "--timeout", "--image", "-o", "b.pt"], flags) == [
        "export",
        "a.ckpt",
        "-o",
        "b.pt",
    ]


def test_new_options_are_known_from_the_parser() -> None:
    parser = ArgumentParser()
    parser.add_argument("-o", "--output")
    only_here(parser.add_argument("--mirror", "-M"))
    only_here(parser.add_argument("--no-cache", action="store_true"))
    parser.add_argument("--weights")
    words = ["--mirror", "-o", "-o", "b.pt", "--no-cache", "-M=x", "--weights", "last"]
    flags = flags_only_here(parser)
    assert flags == {"--mirror": True, "-M": True, "--no-cache": False}
    assert dispatch.handed_on(words, flags) == ["-o", "b.pt", "--weights", "last"]


def test_options_about_getting_the_file_stay_here() -> None:
    getting = {
        *("--sha256", "--max-size", "--timeout", "--token", "--token-file", "--revision"),
        *("--allow-http", "--offline", "--image"),
    }
    assert set(parse(["train", "a.yaml"]).only_here) == getting
    for words in (["export", "a.ckpt"], ["eval", "a.ckpt", "a.yaml"]):
        sandbox = {"--allow-operator", "--no-require-sandbox"} if words[0] == "eval" else set()
        assert set(parse(words).only_here) == {*getting, "--require-signature", *sandbox}
