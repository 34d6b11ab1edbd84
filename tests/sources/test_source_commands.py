"""Every command with models from elsewhere, as a user types it, and what becomes of a token."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ase.io
import pytest
from ase.build import molecule
from huggingface_hub import constants
from sources.hub_server import COMMIT, TOKEN, Hub, Repository, mentions, store
from sources.web_server import Web, serving, status

from mtt.__main__ import main

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints" / "format-3_pet-3_options-2"
CHECKPOINT = (GOLDEN / "0.ckpt").read_bytes()


@pytest.fixture
def hub() -> Hub:
    return Hub(
        {
            "org/open": Repository({"best/model.ckpt": CHECKPOINT, "page.ckpt": b"<html>"}),
            "org/secret": Repository({"model.ckpt": CHECKPOINT}, private=True),
        }
    )


@pytest.fixture(autouse=True)
def web(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The hub, and the current folder of whoever types."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "200")
    with serving(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def mtt(*words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, because libraries look at the environment when they are imported."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "mtt", *words]
    environment = {**os.environ, **more}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == code, result.stderr
    return result


def error(*words: str, **more: str) -> str:
    return mtt(*words, code=2, **more).stderr


def test_export(web: Web) -> None:
    words = ["--allow-http", "--no-verify"]
    assert mtt("export", "pet", "org/open", "best/model.ckpt", *words).stdout.endswith(
        "\nwrote model.pt\n"
    )
    url = f"{web.url}/org/open/resolve/main/best/model.ckpt?download=true"
    said = error("export", "soap", url, *words)
    assert said == (
        "error: the checkpoint is of the architecture 'pet', not 'soap'\n"
        "  where: hf://org/open@main/best/model.ckpt\n"
        "  hint: the name need not be given: mtt export CKPT\n"
    )
    assert sorted(path.name for path in Path().iterdir()) == ["model.pt", "model.pt.intoto.json"]
    statement = json.loads(Path("model.pt.intoto.json").read_text())
    checkpoint = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert checkpoint["name"] == "model.ckpt"
    assert checkpoint["annotations"]["source"] == {
        "hub": web.url,
        "repository": "org/open",
        "kind": "model",
        "file": "best/model.ckpt",
        "revision": "main",
        "commit": COMMIT,
        "sha256": checkpoint["digest"]["sha256"],
    }


def test_a_signature_is_fetched_from_beside_the_file(hub: Hub, web: Web) -> None:
    Path("signed.bin").write_bytes(b"no checkpoint at all")
    mtt("sign", "--new-key", "lab")
    mtt("sign", "--new-key", "other")
    mtt("sign", "signed.bin", "--key", "lab.key")
    signature = Path("signed.bin.sig").read_bytes()
    files = {"a.ckpt": b"no checkpoint at all", "a.ckpt.sig": signature, "b.ckpt": b"unsigned"}
    hub.repositories["org/signed"] = Repository({**files, "c.ckpt": b"x", "c.ckpt.sig": signature})

    def said(file: str, key: str = "lab.pub") -> str:
        words = ["--allow-http", "--require-signature", key]
        return error("export", "org/signed", file, *words)

    # Only what follows complains, about a file that is none.
    assert "signature" not in said("a.ckpt")
    assert "the signature of hf://org/signed/a.ckpt was made with another key" in said(
        "a.ckpt", "other.pub"
    )
    assert "hf://org/signed/b.ckpt.sig" in said("b.ckpt")
    assert "the signature is of another file than hf://org/signed/c.ckpt" in said("c.ckpt")


def test_show_and_upgrade_and_eval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ["org/open", "best/model.ckpt"]
    shown = "hf://org/open/best/model.ckpt"

    def here(*more: str, code: int = 0) -> str:
        assert main([*more, "--allow-http"]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    assert here("show", *words).startswith(f"{shown}: checkpoint, 50.4 kB\n")
    assert json.loads(here("show", *words, "--json"))["path"] == shown
    golden = str(GOLDEN / "0.ckpt")
    assert here("show", "--diff", *words, golden) == f"{shown} and {golden} are the same\n"
    here("upgrade", *words, "-o", "new.ckpt")
    assert Path("new.ckpt").read_bytes() == CHECKPOINT
    ase.io.write("a.xyz", molecule("H2O"), format="extxyz")
    Path("eval.yaml").write_text("systems: a.xyz\ntargets: {energy/gap: {unit: eV}}\n")
    assert here("eval", *words, "eval.yaml", code=2) == (
        "error: the model has no target 'energy/gap'\n"
        f"  where: eval.yaml and {shown}\n"
        "  hint: the model has 'energy': use the same name under 'targets'\n"
    )


def test_a_local_file_needs_nothing_of_the_network() -> None:
    Path("model.ckpt").write_bytes(CHECKPOINT)
    program = "import sys; from mtt.__main__ import main; main(['show', 'model.ckpt']); "
    program += "print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    modules = done.stdout.splitlines()[-1]
    assert "'mtt.sources'" in modules
    for name in ("httpx", "httpx2", "huggingface_hub", "torch", "rich", "pydantic"):
        assert f"'{name}'" not in modules


def test_verify_names_the_file_as_it_was_typed(web: Web) -> None:
    assert error("verify", "org/open", "best/model.ckpt", "--allow-http").splitlines()[:2] == [
        "error: this is a checkpoint, not an exported model",
        "  where: hf://org/open/best/model.ckpt",
    ]


def test_train_continues_from_elsewhere(web: Web) -> None:
    Path("options.yaml").write_text("architecture: {name: pet}\ntraining_set: a.xyz\n")
    Path("a.xyz").touch()
    words = ["train", "options.yaml", "-c", "hf://org/open/page.ckpt", "--allow-http"]
    assert error(*words) == (
        "error: the server sent a web page, not a model\n"
        "  where: hf://org/open/page.ckpt\n"
        "  hint: open the address in a browser: the page may ask for a login, or say where the "
        "file is\n"
    )
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "export org/open",
            "error: checkpoint not found: org/open (there is no folder org)\n"
            "  hint: for a file of the Hugging Face hub, give two words: org/open FILE\n",
        ),
        (
            "verify org/open/best/model.ckpt",
            "error: model file not found: org/open/best/model.ckpt (there is no folder org/open/best)\n"
            "  hint: for a file of the Hugging Face hub, give two words: org/open best/model.ckpt\n",
        ),
        (
            "export org/open a.pt else",
            "error: checkpoint not found: else (looked in HERE)\n"
            "  hint: the words were taken for these files: 'hf://org/open/a.pt', 'else'\n",
        ),
        (
            "export pet org/open",
            "error: checkpoint not found: org/open (there is no folder org)\n"
            "  hint: for a file of the Hugging Face hub, give two words: org/open FILE\n",
        ),
        (
            "show a.ckpt --token hf_abcdefghijklmnop",
            "error: --token is for the Hugging Face hub, and no file of it is named\n",
        ),
        (
            "show a.ckpt --revision v1",
            "error: --revision is for the Hugging Face hub, and no file of it is named\n",
        ),
        (
            "show a.ckpt b.ckpt --sha256 12",
            "error: --sha256 is about one file, and 2 are named\n",
        ),
        (
            "show a.ckpt --sha256 12",
            "error: this is no sha256, which has 64 hexadecimal digits: '12'\n  where: --sha256\n",
        ),
        (
            "export a.ckpt b.ckpt",
            "error: one checkpoint is needed, and these were taken for one each: 'a.ckpt', 'b.ckpt'\n",
        ),
        (
            "show o/r f.ckpt --token-file gone",
            "error: the token cannot be read: No such file or directory\n  where: gone\n",
        ),
        (
            "show a.ckpt#sha256=" + "0" * 64,
            "error: the file is not the one that was asked for: its sha256 is another\n"
            f"  where: a.ckpt: expected {'0' * 64}, found "
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
            "  hint: do not use it before you know why; ask whoever gave you the hash\n",
        ),
    ],
)
def test_mistakes(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        Path(name).touch()
    assert main(words.split()) == 2
    assert capsys.readouterr().err == expected.replace("HERE", str(Path.cwd()))


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--max-size", "lots", "expected a size such as 500MB or 20GB, found 'lots'"),
        ("--max-size", "-1GB", "expected one argument"),
        ("--max-size", "1e400GB", "expected a size such as 500MB or 20GB, found '1e400GB'"),
        ("--timeout", "0", "expected seconds, found '0'"),
        ("--timeout", "nan", "expected seconds, found 'nan'"),
    ],
)
def test_wrong_values(
    flag: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["show", "a.ckpt", flag, value])
    assert capsys.readouterr().err.endswith(f"mtt show: error: argument {flag}: {expected}\n")


def test_which_token_wins_and_that_it_is_said(web: Web) -> None:
    words = ["show", "org/secret", "model.ckpt", "--allow-http"]
    assert mtt(*words, HF_TOKEN=TOKEN).stderr == ""
    said = mtt(*words, "--token", TOKEN, HF_TOKEN="hf_AnotherOneThatIsWrong").stderr
    assert said == "note: the token of --token is used, not that of HF_TOKEN\n"
    Path("token").write_text(TOKEN + "\n")
    assert mtt(*words, "--token-file", "token").stderr == ""
    bad = error(*words, "--token", "hf_abc\ndefghijklmno")
    assert bad == (
        "error: the token of --token has characters that no token has\n"
        "  hint: a token is one word of letters, digits and underscores; copy it again\n"
    )
    assert error(*words, "--token", " ") == "error: the token of --token is empty\n"


def test_the_program_that_runs_models_gets_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("MTT_VERIFY", str(program))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    Path("model.pt").write_bytes(b"PK\x03\x04 cut off")
    assert main(["verify", "model.pt"]) == 2
    seen = (tmp_path / "seen").read_text()
    assert "MTT_VERIFY=" in seen
    assert TOKEN not in seen


def test_a_token_leaks_nowhere(web: Web, hub: Hub, tmp_path: Path) -> None:
    """All that is printed and all files, for success and failure, and what another host is asked."""
    shown: list[str] = []

    def run(*words: str, **more: str) -> None:
        command = [sys.executable, "-m", "mtt", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "HF_DEBUG": "1", **more}
        )
        shown.append(done.stdout + done.stderr)

    words = ["show", "org/secret", "model.ckpt", "--allow-http"]
    with serving(store(hub.repositories["org/secret"].files), host="localhost") as cdn:
        hub.cdn = cdn.url
        run(*words, "--token", TOKEN)
        run("upgrade", *words[1:], "-o", "new.ckpt", HF_TOKEN=TOKEN)
        assert not mentions(cdn.asked, TOKEN)
        assert cdn.asked
    assert mentions(web.asked, TOKEN)
    run(*words, "--token", TOKEN)  # the other host is gone
    run("show", "org/none", "model.ckpt", "--allow-http", f"--token={TOKEN}")
    run("show", "org/secret", "gone.ckpt", "--allow-http", "--token", TOKEN)
    run("show", "org/secret", "model.ckpt", "--tokn", TOKEN)
    run("show", "org/secret", "model.ckpt", "--token", TOKEN, TOKEN)
    run("show", TOKEN)
    run("show", "org/secret", "model.ckpt", "--token", TOKEN + "\n" + TOKEN)
    web.listener.answer = lambda request: status(400)(request, b"")
    run(*words, "--timeout", "1", "--token", "x" + TOKEN)
    # a bug, whose log has the command line in it
    broken = "import sys, mtt.sources.fetch as f, mtt.__main__ as m; f.fetch = None; "
    broken += "import mtt.sources as s; s.fetch = lambda *a: [][a[1].token.value]; "
    broken += "sys.exit(m.main(sys.argv[1:]))"
    command = [sys.executable, "-c", broken, *words, "--token", TOKEN]
    done = subprocess.run(command, capture_output=True, text=True)
    shown.append(done.stdout + done.stderr)
    assert done.returncode == 1
    assert "--token [token]" in Path("error.log").read_text()
    assert [text for text in shown if TOKEN[3:] in text] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert [path for path in files if TOKEN[3:].encode() in path.read_bytes()] == []
    assert [path for path in tmp_path.rglob("*") if TOKEN[3:] in path.name] == []
