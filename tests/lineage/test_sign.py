"""Signatures: who can make and check them, and that every wrong one is refused in its own words."""

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from mtt.__main__ import main
from mtt.errors import UserError
from mtt.export import provenance
from mtt.files import sha256_of
from mtt.lineage import keys, sign, signature


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a file, two pairs of keys, and the file's signature by the first."""
    monkeypatch.chdir(tmp_path)
    Path("my modél.pt").write_bytes(b"weights")
    keys.new_key(Path("lab"))
    keys.new_key(Path("other"))
    sign.run(Path("my modél.pt"), Path("lab.key"))
    return tmp_path


def statement(**changes: object) -> dict[str, object]:
    """A proper statement about the file."""
    digest = {"sha256": sha256_of(Path("my modél.pt"))}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "my modél.pt", "digest": digest}],
        "predicateType": "urn:mtt:signature:1",
        "predicate": {},
        **changes,
    }


def error(key: str = "lab.pub", file: str = "my modél.pt") -> str:
    with pytest.raises(UserError) as caught:
        signature.require(Path(file), Path(key))
    return str(caught.value)


def change(**entries: object) -> None:
    path = Path("my modél.pt.sig")
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_signature_holds_wherever_the_file_goes(folder: Path) -> None:
    signature.require(Path("my modél.pt"), Path("lab.pub"))
    shutil.copy("my modél.pt", "renamed.pt")
    shutil.copy("my modél.pt.sig", "renamed.pt.sig")
    signature.require(Path("renamed.pt"), Path("lab.pub"))


def test_private_keys_are_private_and_never_overwritten(folder: Path) -> None:
    assert stat.S_IMODE(Path("lab.key").stat().st_mode) == 0o600
    before = Path("lab.key").read_bytes()
    with pytest.raises(UserError) as caught:
        keys.new_key(Path("lab"))
    assert str(caught.value) == (
        "there is a key of this name already, and keys are never overwritten\n"
        "  where: lab.key\n"
        "  hint: choose another name"
    )
    assert Path("lab.key").read_bytes() == before


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_others_can_check_it(folder: Path) -> None:
    """By the specification of DSSE, with a program that knows nothing of this one."""
    envelope = json.loads(Path("my modél.pt.sig").read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b" ".join([b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload])
    Path("signed").write_bytes(signed)
    Path("signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "lab.pub", "-rawin"]
    command += ["-in", "signed", "-sigfile", "signature"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Signature Verified Successfully", done.stderr


def test_no_signature(folder: Path) -> None:
    Path("my modél.pt.sig").unlink()
    assert error() == (
        "there is no signature of my modél.pt, and one is required\n"
        "  where: my modél.pt.sig\n"
        "  hint: get it from whoever made the file, beside which it belongs"
    )


def test_another_key(folder: Path) -> None:
    assert error("other.pub") == (
        "the signature of my modél.pt was made with another key\n"
        "  where: my modél.pt.sig\n"
        "  hint: the key that is required is other.pub: do not use the file unless you trust the other"
    )


def test_a_changed_file(folder: Path) -> None:
    Path("my modél.pt").write_bytes(b"weightz")
    assert error() == (
        "the signature is of another file than my modél.pt, or the file has changed since\n"
        "  where: my modél.pt.sig\n"
        "  hint: do not use the file; get both again"
    )


def test_a_forged_statement(folder: Path) -> None:
    """The statement of a changed file under the old signature, even without the key's name."""
    Path("my modél.pt").write_bytes(b"weightz")
    old = json.loads(Path("my modél.pt.sig").read_text())
    sign.run(Path("my modél.pt"), Path("other.key"))
    expected = (
        "the signature of my modél.pt is forged or damaged: it does not fit its own statement\n"
        "  where: my modél.pt.sig\n"
        "  hint: do not use the file; get both again"
    )
    change(signatures=old["signatures"])
    assert error() == expected
    change(signatures=[{"sig": old["signatures"][0]["sig"]}])
    assert error() == expected


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"payloadType": "application/vnd.in-toto+json", "payload": "%", "signatures": []}',
        '{"payloadType": "text/plain", "payload": "", "signatures": []}',
        '{"payloadType": "application/vnd.in-toto+json", "payload": "", "signatures": [1]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_signature(folder: Path, content: str) -> None:
    Path("my modél.pt.sig").write_text(content)
    assert error() == (
        "this is no signature that can be checked: not a DSSE envelope around a statement\n"
        "  where: my modél.pt.sig\n"
        "  hint: make one with: mtt sign FILE --key KEY"
    )


def test_what_is_no_key(folder: Path) -> None:
    Path("text.pub").write_text("hello")
    assert error("text.pub") == (
        "this is no public ed25519 key in PEM format\n"
        "  where: text.pub\n"
        "  hint: make a pair with: mtt sign --new-key NAME"
    )
    assert error("lab.key") == (
        "this is a private key, and signatures are checked with the public one\n"
        "  where: lab.key\n"
        "  hint: give the file whose name ends in .pub, and keep this one to yourself"
    )
    with pytest.raises(UserError) as caught:
        sign.run(Path("my modél.pt"), Path("lab.pub"))
    assert str(caught.value) == (
        "this is a public key, which cannot sign\n"
        "  where: lab.pub\n"
        "  hint: give the private one, whose name ends in .key"
    )


def test_a_key_of_another_kind(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    raw = X25519PrivateKey.generate().public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    Path("x.pub").write_bytes(raw.public_bytes(serialization.Encoding.PEM, kind))
    assert error("x.pub").startswith("this is no public ed25519 key in PEM format\n")


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "my modél.pt"),
        ("export", "my modél.pt", "-o", "new.pt"),
        ("eval", "my modél.pt", "eval.yaml"),
    ],
)
def test_commands_refuse_before_they_open_the_file(
    folder: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is no model at all: the signature is what they complain about."""
    Path("eval.yaml").write_text("systems: data.xyz\n")
    Path("data.xyz").touch()
    assert main([*command, "--require-signature", "other.pub"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: the signature of my modél.pt was made with another key\n"
    )
    if command[0] == "verify":  # with the right key it is opened, and found to be none
        assert main([*command, "--require-signature", "lab.pub"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: this is a file of an unknown kind")
        assert "signature" not in said


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", "--new-key", "new"]) == 0
    assert main(["sign", "my modél.pt", "lab.pub", "--key", "new.key"]) == 0
    assert capsys.readouterr().out == (
        "wrote new.key, which must stay secret, and new.pub\n"
        "wrote my modél.pt.sig\n"
        "wrote lab.pub.sig\n"
    )
    signature.require(Path("lab.pub"), Path("new.pub"))
    assert main(["sign", "--key", "new.key"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no file to sign\n  hint: mtt sign FILE --key KEY\n"
    )


def test_only_what_was_checked_is_signed(folder: Path) -> None:
    """Nothing of the statement beside the file is taken over, whatever it says."""
    model = Path("my modél.pt")
    provenance.statement_path(model).write_text(json.dumps(statement(predicate={"more": "facts"})))
    signed = sign.run(model, Path("lab.key"))
    assert signed.lines == [
        "  not checked, and not signed: what my modél.pt.intoto.json says beyond that; --ckpt CKPT and "
        "--data FILE let mtt check where it comes from"
    ]
    envelope = json.loads(signature.signature_path(model).read_text())
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "my modél.pt", "digest": {"sha256": sha256_of(model)}}],
        "predicateType": "urn:mtt:signature:1",
        "predicate": {},
    }
    signature.require(model, Path("lab.pub"))
