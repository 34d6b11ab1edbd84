"""Publishing on a hub on loopback: what arrives there, what is refused, and what is never sent."""

import hashlib
import json
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from sources.hub_server import READ_ONLY, TOKEN, Hub, Repository
from sources.web_server import Web, serving

from mtt.__main__ import main
from mtt.checkpoint import MeasuredError
from mtt.cli import make_parser
from mtt.cli import push as push_command
from mtt.cli.arguments import settings
from mtt.errors import UserError
from mtt.inspect.describe_checkpoint import describe_checkpoint
from mtt.sources import Settings, Token
from mtt.sources.model_card import MARK, card
from mtt.sources.publish import Package
from mtt.sources.upload import push as upload
from mtt.training.final_checkpoint import add_test_errors
from mtt.verify.report import Report

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-3_pet-3_options-2"
METADATA = """\
name: water | copper
description: |
  For tests. <script>alert(1)</script>
  ---
authors: [A. Person]
references: {model: ["doi:10.0000/example"]}
extra: {licence: CC-BY-4.0}
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and its export, side by side."""
    from mtt.export import run as export

    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(GOLDEN / "0.ckpt", folder / "model.ckpt")
    shutil.copy(GOLDEN / "1.ckpt", folder / "other.ckpt")
    add_test_errors(folder / "model.ckpt", [MeasuredError("forces", "eV/A", 0.05, 0.04, 90)])
    (folder / "metadata.yaml").write_text(METADATA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = folder / "metadata.yaml"
        export.run(folder / "model.ckpt", folder / "model.pt", metadata=path, verify="none")
    return folder


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture(autouse=True)
def web(hub: Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    shutil.copytree(exported, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    # what large files go by today has no server here; the way before it is the hub's, too
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with serving(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def push(*words: str) -> int:
    return main(["push", "model.ckpt", "org/new", "--level", "quick", "--allow-http", *words])


def test_everything_arrives_in_one_commit(
    web: Web, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push("--private", "--message", "First") == 0
    printed = capsys.readouterr()
    assert TOKEN[3:] not in printed.out + printed.err
    said = printed.out.splitlines()
    assert said[0].startswith("pass model.pt: ")
    assert said[1:] == [
        "uploaded model.ckpt, model.pt, verification.json, verification.html, README.md",
        f"published: {web.url}/org/new/commit/{hub.commit}",
    ]
    there = hub.repositories["org/new"]
    assert not any(TOKEN[3:].encode() in content for content in there.files.values())
    assert there.visibility == "private"
    assert [(one["revision"], one["summary"]) for one in hub.commits] == [("main", "First")]
    for name in ("model.ckpt", "model.pt"):
        assert there.files[name] == Path(name).read_bytes()
    report = json.loads(there.files["verification.json"])
    assert report["verdict"] == "pass"
    assert report["file"]["path"] == "model.pt"
    assert report["file"]["sha256"] == hashlib.sha256(there.files["model.pt"]).hexdigest()
    here = str(Path.cwd()).encode()
    made = ("verification.json", "verification.html", "README.md")
    assert not any(here in there.files[name] for name in made)
    check_card(there.files["README.md"].decode(), there.files)


def test_branches_and_cards_that_people_wrote(web: Web, hub: Hub) -> None:
    there = hub.repositories["org/new"] = Repository()
    how = Settings(allow_http=True, token=Token(TOKEN, "--token"), revision="v2")
    card = f"{MARK} new".encode()

    def again(settings: Settings) -> list[str]:
        contents = {"a.ckpt": Path("model.ckpt"), "README.md": card}
        url, names = upload("org/new", contents, "message", settings, card_mark=MARK)
        assert url == f"{web.url}/org/new/commit/{hub.commit}"
        return names

    assert again(how) == ["a.ckpt", "README.md"]
    assert there.revisions[-1] == "v2"
    there.files["README.md"] = f"{MARK} old".encode()
    assert again(replace(how, revision=None)) == ["a.ckpt", "README.md"]
    assert there.files["README.md"] == card
    assert [one["revision"] for one in hub.commits] == ["v2", "main"]
    there.files["README.md"] = b"# My own words"
    assert again(how) == ["a.ckpt"]
    assert there.files["README.md"] == b"# My own words"


def test_what_is_kept_is_said(web: Web, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["org/new"] = Repository({"README.md": b"# My own words"})
    words = ["push", "model.ckpt", "org/new", "--allow-http", "--token", TOKEN]
    arguments = make_parser().parse_args(words)
    package = Package("org/new", {"model.ckpt": Path("model.ckpt")}, {"README.md": b"card"})
    push_command._upload(package, arguments, settings(arguments))
    assert capsys.readouterr().out.splitlines() == [
        "uploaded model.ckpt",
        "README.md of org/new was written by somebody, and stays as it is",
        f"published: {web.url}/org/new/commit/{hub.commit}",
    ]


def check_card(card: str, files: dict[str, bytes]) -> None:
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "mtt",
        "license": "cc-by-4.0",
        "tags": ["mtt", "metatomic", "interatomic-potential", "molecular-dynamics", "pet"],
    }
    lines = body.splitlines()
    assert lines[:8] == [
        MARK,
        "",
        "# water | copper",
        "",
        "For tests. &lt;script>alert(1)&lt;/script>",
        "---",
        "",
        "Authors: A. Person",
    ]
    for line in (
        "| architecture | pet, version 3 |",
        "| elements | H C O Cu |",
        "| predicts | energy in eV, with forces and stress |",
        "| interaction range | 6 angstrom |",
        "| training set | 12 structures |",
        "| weights | of the best epoch (2) |",
        "| forces RMSE | 4.048 eV/A |",
        "On the test set, with the weights of the best epoch:",
        "| forces | RMSE 50 meV/A, MAE 40 meV/A, 90 values |",
        "**Passed**: for ASE, i-PI, torch-sim, LAMMPS, GROMACS, eOn. Level quick, by mtt-verify 0.1.0; "
        "see `verification.html`.",
        "| LAMMPS on several ranks | yes |",
        "| family | pass | fail | skip | waived |",
        "| PARITY | 5 |  |  |  |",
        "mtt export org/new model.ckpt",
        "mtt train options.yaml --continue hf://org/new/model.ckpt",
        f"| `model.pt` | {len(files['model.pt']) / 1000:.3g} kB | "
        f"`{hashlib.sha256(files['model.pt']).hexdigest()}` |",
        "- model: doi:10.0000/example",
        "- architecture: https://arxiv.org/abs/2305.19302",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (
            15,
            [
                "| predicts | mtt::dipole in e*A, a vector |",
                "| predicts | mtt::charges in e, a value of each atom |",
                "| mtt::charges RMSE | 0.3985 e |",
                "| energy/pbe RMSE per atom | 680.2 meV/atom |",
                "| non conservative force MAE | 1.508 eV/A |",
            ],
        ),
        (
            18,
            [
                "| uncertainty | of energy by ensemble, with 2 members; its calibration multiplied it by 40.78 |",
                "| ensemble | 2 members, of the seeds 5, 6 |",
            ],
        ),
        (
            23,
            [
                "| uncertainty | of energy by llpr, with 3 members; its calibration multiplied it by 1.555 |"
            ],
        ),
    ],
)
def test_a_card_tells_of_all_targets_and_uncertainties(number: int, lines: list[str]) -> None:
    checkpoint = describe_checkpoint(GOLDEN / f"{number}.ckpt")
    report = Report(3, "model.pt", "pass", ())
    text = card("org/new", checkpoint, {}, report, [("m.pt", 1, "0"), ("m.ckpt", 1, "0")])
    assert set(lines) <= set(text.splitlines())


def test_a_dry_run_shows_all_and_contacts_nobody(
    web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push("--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "would be uploaded to org/new:"
    assert [line.split()[0] for line in lines[2:7]] == [
        "model.ckpt",
        "model.pt",
        "verification.json",
        "verification.html",
        "README.md",
    ]
    assert lines[7:10] == ["", "---", "library_name: mtt"]
    assert web.asked == []


def test_a_model_that_fails_is_not_published(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("model.pt") as archive:
        records = {one: archive.read(one) for one in archive.namelist()}
    (name,) = (one for one in records if one.endswith("golden.safetensors"))
    pack = records[name]
    length = int.from_bytes(pack[:8], "little")
    table = json.loads(pack[8 : 8 + length])
    key = next(one for one in table if "energy" in one)
    begin = 8 + length + table[key]["data_offsets"][0]
    records[name] = pack[:begin] + b"\x00" * 8 + pack[begin + 8 :]
    with zipfile.ZipFile("model.pt", "w") as archive:
        for one, content in records.items():
            archive.writestr(one, content)
    assert push("--token", TOKEN) == 3
    said = capsys.readouterr()
    assert said.out.startswith("fail model.pt: ASE, i-PI, ")
    assert "failed 1 check: PARITY/" in said.err
    assert "PARITY" in said.err
    assert web.asked == []


def test_refusals_of_the_hub(web: Web, hub: Hub) -> None:
    def refused(token: str | None) -> str:
        how = Settings(allow_http=True, token=Token(token, "HF_TOKEN") if token else None)
        with pytest.raises(UserError) as raised:
            upload("org/new", {"model.ckpt": b"x"}, "message", how)
        return str(raised.value)

    place = f"{web.url}/settings/tokens"
    assert refused(None) == (
        "the hub asks for a token\n"
        "  where: org/new\n"
        f"  hint: give it in HF_TOKEN or with --token-file; make one: {place}"
    )
    assert refused("hf_WrongWrongWrong") == (
        "the hub does not know the token of HF_TOKEN\n"
        "  where: org/new\n"
        f"  hint: it may have expired; make another: {place}"
    )
    assert refused(READ_ONLY) == (
        "the token of HF_TOKEN has no right to do this in org/new\n"
        "  where: org/new\n"
        f"  hint: give it that right: {place}"
    )
    hub.repositories["org/new"] = Repository(gated=False)

    def no_store(request: object) -> None:
        if request.path.startswith("/upload/"):  # type: ignore[attr-defined]
            request.say(403)  # type: ignore[attr-defined]
        else:
            hub(request)  # type: ignore[arg-type]

    web.listener.answer = no_store
    assert refused(TOKEN).startswith("the token of HF_TOKEN has no right to do this in org/new")
    assert hub.commits == []


def test_a_hub_that_does_not_answer(web: Web) -> None:
    web.listener.answer = lambda _: time.sleep(1)
    how = Settings(allow_http=True, token=Token(TOKEN, "HF_TOKEN"), timeout=0.03)
    with pytest.raises(UserError) as raised:
        upload("org/new", {"model.ckpt": b"x"}, "message", how)
    assert str(raised.value) == (
        "the hub did not answer in time\n"
        "  where: org/new\n"
        "  hint: try again, or with a longer --timeout"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "model.ckpt new",
            "error: this cannot be a repository of the hub: 'new'\n"
            "  hint: give the name of an account or organization, a slash, and a name: ORG/REPO\n",
        ),
        (
            "model.pt org/new",
            "error: this is a model file; push its checkpoint, and the model goes along\n"
            "  where: model.pt\n"
            "  hint: mtt push CKPT ORG/REPO --model model.pt\n",
        ),
        (
            "other.ckpt org/new --model model.pt",
            "error: this model was not exported from other.ckpt\n"
            "  where: model.pt\n"
            "  hint: export it anew, or name the right one with --model\n",
        ),
        (
            "model.ckpt org/new --model other.ckpt",
            "error: this is a checkpoint, not an exported model\n  where: other.ckpt\n",
        ),
        (
            "model.ckpt org/new -m metadata.yaml",
            "error: metadata can only be given to a new export, and there is one already\n"
            "  where: model.pt\n"
            "  hint: export with it: mtt export model.ckpt -m metadata.yaml -o model.pt\n",
        ),
        ("gone.ckpt org/new", "error: checkpoint not found: gone.ckpt (looked in HERE)\n"),
    ],
)
def test_mistakes(web: Web, words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", *words.split()]) == 2
    assert capsys.readouterr().err == expected.replace("HERE", str(Path.cwd()))
    assert web.asked == []
