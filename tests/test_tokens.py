"""Secrets stay out of texts: known ones by their value, others by how they look, and nothing else."""

import json
from pathlib import Path

import pytest

from mtt import tokens
from mtt.tokens import HIDDEN, redacted, redacted_json, without_secrets

STORED = "plain-words-of-a-stored-token"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which nobody has logged in, and an environment without tokens."""
    for name in (*tokens.VARIABLES, "HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tokens, "_used", set())
    return tmp_path


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "MY_HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY"]
)
def test_values_of_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert redacted("says correct-horse.") == "says correct-horse."
    monkeypatch.setenv(name, " correct-horse\n")
    assert redacted("says correct-horse.") == f"says {HIDDEN}."


def test_values_that_are_no_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "token-file").touch()
    monkeypatch.setenv("MY_TOKEN", str(home / "token-file"))
    monkeypatch.setenv("TOKEN_COUNT", "123456789")
    monkeypatch.setenv("SHORT_TOKEN", "forces")
    text = f"{home}/token-file has 123456789 forces"
    assert redacted(text) == text


def test_what_a_login_has_stored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text(f"{STORED}\n")
    (folder / "stored_tokens").write_text(f"[work]\nhf_token = {STORED[::-1]}\n")
    assert redacted(f"<{STORED}> <{STORED[::-1]}>") == f"<{HIDDEN}> <{HIDDEN}>"
    monkeypatch.setenv("HF_HOME", str(home / "elsewhere"))
    assert redacted(STORED) == STORED
    monkeypatch.setenv("HF_TOKEN_PATH", str(folder / "token"))
    assert redacted(STORED) == HIDDEN


def test_what_a_flag_or_its_file_gave(home: Path) -> None:
    (home / "file").write_text(f"{STORED}\n")
    tokens.find(None, home / "file")
    assert redacted(f"sent {STORED}") == f"sent {HIDDEN}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf_" + "a1B2" * 8, HIDDEN),
        ("(ghp_" + "a1B2" * 9 + ")", f"({HIDDEN})"),
        ("AKIA" + "A1B2" * 4, HIDDEN),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", HIDDEN),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {HIDDEN}"),
        ("{'authorization': 'Basic dXNlcjpw'}", f"{{'authorization': 'Basic {HIDDEN}'}}"),
        ("sent bearer 0123456789abcdef", f"sent bearer {HIDDEN}"),
        ("https://me:pass@host.example/a", "https://host.example/a"),
        ("ssh://me:p@ss@host.example:22/a", "ssh://host.example:22/a"),
        (
            "https://h.example/a?x=1&access_token=abc&y=2",
            f"https://h.example/a?x=1&access_token={HIDDEN}&y=2",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMC4xCAQ\n-----END PRIVATE KEY-----\nrest",
            f"{HIDDEN}\nrest",
        ),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", HIDDEN),
    ],
)
def test_what_looks_like_a_secret(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "largest difference of forces: 1e-05 eV/A (atom 3)",
        "sha256 " + "ab" * 32,
        "energy/pbe of the key 'self_hf_energy'",
        "https://arxiv.org/abs/2305.19302 and me@host.example",
        "hf://org/repo@main/model.ckpt",
        "author: A. Basic, 5 tokens per atom",
    ],
)
def test_what_does_not(text: str) -> None:
    assert without_secrets(text) == text


def test_messages_lose_what_follows_the_question_mark() -> None:
    text = "gone: 'https://h.example/a?name=x' and https://h.example/b?c d"
    assert redacted(text) == text
    assert without_secrets(text) == "gone: 'https://h.example/a' and https://h.example/b d"


def test_json_keeps_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", 'with "quotes"\\')
    value = {"a": ['with "quotes"\\', 1, None, 2.5], 'with "quotes"\\': {"b": True}}
    expected = {"a": [HIDDEN, 1, None, 2.5], HIDDEN: {"b": True}}
    assert redacted_json(json.loads(json.dumps(value))) == expected
