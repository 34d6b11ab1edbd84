"""What is taken for what: paths, addresses, files of repositories."""

from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.sources import HubFile, LocalFile, Source, WebFile, read

HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a checkpoint in it and in a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("model.ckpt", "runs/a", "x#sha256=y"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.ckpt"], [LocalFile(Path("model.ckpt"))]),
        (["gone.ckpt"], [LocalFile(Path("gone.ckpt"))]),
        ([f"model.ckpt#sha256={HASH}"], [LocalFile(Path("model.ckpt"), HASH)]),
        (["x#sha256=y"], [LocalFile(Path("x#sha256=y"))]),
        (["org/repo", "a/b.pt"], [HubFile("org/repo", "a/b.pt")]),
        # what is here wins
        (["org/repo", "model.ckpt"], [LocalFile(Path("org/repo")), LocalFile(Path("model.ckpt"))]),
        (["runs/a", "b.pt"], [LocalFile(Path("runs/a")), LocalFile(Path("b.pt"))]),
        (["runs/gone", "b.pt"], [LocalFile(Path("runs/gone")), LocalFile(Path("b.pt"))]),
        # a name of a file is never that of a repository
        (["run/a.ckpt", "b.pt"], [LocalFile(Path("run/a.ckpt")), LocalFile(Path("b.pt"))]),
        (["org/repo", "/b.pt"], [LocalFile(Path("org/repo")), LocalFile(Path("/b.pt"))]),
        (
            ["org/repo", "b.pt", "model.ckpt", "https://host.org/x"],
            [
                HubFile("org/repo", "b.pt"),
                LocalFile(Path("model.ckpt")),
                WebFile("https://host.org/x"),
            ],
        ),
        (
            [f"HTTPS://host.org/a.ckpt?x=1#sha256={HASH.upper()}"],
            [WebFile("https://host.org/a.ckpt?x=1", HASH)],
        ),
        (["https://host.org/a.ckpt#page"], [WebFile("https://host.org/a.ckpt")]),
        (
            ["https://huggingface.co/org/repo/resolve/refs%2Fpr%2F1/a/b%20c.pt"],
            [HubFile("org/repo", "a/b c.pt", "refs/pr/1")],
        ),
        (
            ["https://hf.co/datasets/org/repo/raw/refs/pr/1/b.pt"],
            [HubFile("org/repo", "b.pt", "refs/pr/1", "dataset")],
        ),
        (["hf://org/repo@v1/a/b.pt"], [HubFile("org/repo", "a/b.pt", "v1")]),
        (["hf://datasets/org/repo/b.pt"], [HubFile("org/repo", "b.pt", None, "dataset")]),
        ([f"hf://org/repo/b.pt#sha256={HASH}"], [HubFile("org/repo", "b.pt", sha256=HASH)]),
    ],
)
def test_read(words: list[str], expected: list[Source]) -> None:
    found = read(words)
    assert found == expected
    for one in found:
        if isinstance(one, HubFile):
            assert read([one.shown]) == [HubFile(one.repository, one.file, one.revision, one.kind)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (
            "ftp://host/a.ckpt",
            "addresses that begin with ftp:// are not supported\n  where: ftp://host/a.ckpt\n"
            "  hint: give a path, https://..., or a file of the Hugging Face hub: ORG/REPO FILE",
        ),
        (
            "https://host.org/",
            "this address names a server, not a file\n  where: https://host.org/",
        ),
        ("https:///a.ckpt", "this is no address of a file\n  where: 'https:///a.ckpt'"),
        ("https://h:port/a", "this is no address of a file\n  where: 'https://h:port/a'"),
        ("https://h/a b\n", "this is no address of a file\n  where: 'https://h/a b'"),
        (
            "https://u:pw@h/a.ckpt?key=1#sha256=12",
            "this is no sha256, which has 64 hexadecimal digits: '12'\n  where: https://h/a.ckpt",
        ),
        (
            "https://huggingface.co/org/repo/tree/main",
            "this is an address of the Hugging Face hub, but not of a file\n"
            "  where: https://huggingface.co/org/repo/tree/main\n"
            "  hint: give the repository and the name of the file in it: org/repo model.ckpt",
        ),
        (
            "https://huggingface.co/org/re..po/resolve/main/..%2F..%2Fx",
            "this cannot be a file of a repository: '../../x'\n"
            "  where: https://huggingface.co/org/re..po/resolve/main/..%2F..%2Fx",
        ),
        (
            "hf://org/repo",
            "this names no file of the hub\n  where: hf://org/repo\n  hint: write hf://ORG/REPO/FILE",
        ),
        (
            "hf://o~g/repo/a",
            "this cannot be a repository of the hub: 'o~g/repo'\n  where: hf://o~g/repo/a",
        ),
        (
            "hf://org/repo/../a",
            "this cannot be a file of a repository: '../a'\n  where: hf://org/repo/../a",
        ),
    ],
)
def test_what_cannot_be_read(word: str, expected: str) -> None:
    with pytest.raises(UserError) as raised:
        read([word])
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/model.ckpt?download=true", "model.ckpt"),
        ("https://h/a%2Fb%2Fmodel%201.ckpt", "model 1.ckpt"),
        ("https://h/a/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://h/a/..%5c..%5cx.ckpt", "x.ckpt"),
        ("https://h/a/%2e%2e", "model"),
        ("https://h/.bashrc", "bashrc"),
        ("https://h/-o", "o"),
        ("https://h/%1b%5b31m%00x.ckpt", "_[31m_x.ckpt"),
        ("https://h/mod%C3%A8le.ckpt", "modèle.ckpt"),
        ("https://h/" + "%C3%A8" * 300 + ".ckpt", "è" * 97 + ".ckpt"),
        ("https://h/" + "x" * 300, "x" * 200),
        ("https://h/folder/", "folder"),
    ],
)
def test_names_are_only_names(url: str, name: str) -> None:
    (source,) = read([url])
    assert source.name == name


def test_secrets_are_not_shown() -> None:
    (source,) = read(["https://user:password@h.org/m.ckpt?sig=secret"])
    assert source.shown == "https://h.org/m.ckpt"
    assert repr(source) == "WebFile(https://h.org/m.ckpt)"
