"""A signature is over one file: statements and envelopes that could mean another one are refused."""

import base64
import json
import os
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from mtt.__main__ import main
from mtt.checkpoint import read_header
from mtt.cli.arguments import signed
from mtt.errors import UserError
from mtt.export import provenance
from mtt.files import sha256_of
from mtt.images.runtimes import Mounts
from mtt.lineage import keys, sign, signature
from mtt.sources import Fetched, LocalFile

MODEL, KEY, PUBLIC = Path("model.pt"), Path("lab.key"), Path("lab.pub")
DIGEST = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a file and a pair of keys."""
    monkeypatch.chdir(tmp_path)
    MODEL.write_bytes(b"weights")
    keys.new_key(Path("lab"))
    keys.new_key(Path("other"))
    return tmp_path


@pytest.fixture
def model(folder: Path, trained: Path) -> Path:
    """A real model file with its statement and checkpoint beside it."""
    for name in ("model.pt", "model.pt.intoto.json", "model.ckpt", "data.xyz"):
        shutil.copy(trained / name, folder)
    return folder


def plain(**changes: Any) -> dict[str, Any]:
    """A proper statement about MODEL, with changes; those that are None are left out."""
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model.pt", "digest": {"sha256": sha256_of(MODEL)}}],
        "predicateType": "urn:mtt:signature:1",
        "predicate": {},
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def improper() -> dict[str, Any]:
    """Statements that are about MODEL, and could be taken for something else as well."""
    digest = sha256_of(MODEL)
    subject = {"name": "model.pt", "digest": {"sha256": digest}}
    evil = {"name": "evil.pt", "digest": {"sha256": DIGEST}}
    text = json.dumps(plain())
    return {
        "a second subject": plain(subject=[subject, evil]),
        "a second subject before it": plain(subject=[evil, subject]),
        "the same subject twice": plain(subject=[subject, subject]),
        "no subject": plain(subject=[]),
        "a subject that is no list": plain(subject=subject),
        "another digest beside it": plain(
            subject=[{"name": "model.pt", "digest": {"sha256": digest, "sha512": "00"}}]
        ),
        "the digest in capitals": plain(
            subject=[{"name": "model.pt", "digest": {"sha256": digest.upper()}}]
        ),
        "more about the subject": plain(
            subject=[{**subject, "uri": "https://host.example/evil.pt"}]
        ),
        "a subject without a name": plain(subject=[{"digest": {"sha256": digest}}]),
        "another predicate": plain(predicateType="https://host.example/approval/v1"),
        "another version": plain(_type="https://in-toto.io/Statement/v0.1"),
        "no predicate": plain(predicate=None),
        "a predicate that is no object": plain(predicate=[]),
        "more keys": plain(also={"subject": [evil]}),
        "a key twice": text.replace(
            '"predicateType"', f'"subject": [{json.dumps(evil)}], "predicateType"'
        ),
        "a digest twice": text.replace('"sha256": ', f'"sha256": "{DIGEST}", "sha256": '),
        "a key twice by an escape": text.replace(
            '"predicate":', '"\\u0073ubject": [], "predicate":'
        ),
        "a number that is none": text.replace("{}", '{"a": NaN}'),
        "other letters": text.encode("utf-16"),
        "a mark in front": b"\xef\xbb\xbf" + text.encode(),
        "no JSON": "x",
        "too deep": "[" * 100_000,
    }


KINDS = [
    "a second subject",
    "a second subject before it",
    "the same subject twice",
    "no subject",
    "a subject that is no list",
    "another digest beside it",
    "the digest in capitals",
    "more about the subject",
    "a subject without a name",
    "another predicate",
    "another version",
    "no predicate",
    "a predicate that is no object",
    "more keys",
    "a key twice",
    "a digest twice",
    "a key twice by an escape",
    "a number that is none",
    "other letters",
    "a mark in front",
    "no JSON",
    "too deep",
]


def raw(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def envelope(payload: bytes, **changes: Any) -> dict[str, Any]:
    """What somebody who has the key, but another program than ours, signs."""
    key = keys.private_key(KEY)
    sig = base64.b64encode(key.sign(signature.signed(payload))).decode()
    content = {
        "payloadType": signature.PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": keys.key_id(key.public_key()), "sig": sig}],
    }
    return {**content, **changes}


def put(content: Any) -> None:
    signature.signature_path(MODEL).write_bytes(raw(content))


def test_the_list_of_kinds_is_whole(folder: Path) -> None:
    assert list(improper()) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_neither_signed_nor_taken(folder: Path, kind: str) -> None:
    content = raw(improper()[kind])
    provenance.statement_path(MODEL).write_bytes(content)
    with pytest.raises(
        UserError, match="^model.pt is not signed: the statement beside it is not one"
    ):
        sign.run(MODEL, KEY)
    assert not signature.signature_path(MODEL).exists()
    put(envelope(content))
    with pytest.raises(UserError, match="over a statement that is not about this file alone"):
        signature.require(MODEL, PUBLIC)


def test_a_proper_statement_of_another_program_is_taken(folder: Path) -> None:
    put(envelope(raw(plain())))
    signature.require(MODEL, PUBLIC)
    put(envelope(raw(plain(predicateType=provenance.PREDICATE, predicate={"a": 1}))))
    signature.require(MODEL, PUBLIC)
    # Somebody else may sign as well; one of the key asked for is enough.
    both = envelope(raw(plain()))
    both["signatures"].insert(0, {"keyid": "00", "sig": base64.b64encode(bytes(64)).decode()})
    put(both)
    signature.require(MODEL, PUBLIC)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("evil.pt", "it calls the file 'evil.pt'"),
        ("../model.pt", "it calls the file '../model.pt'"),
        ("", "it calls the file ''"),
    ],
)
def test_the_name_is_signed_too(folder: Path, name: str, why: str) -> None:
    subject = [{"name": name, "digest": {"sha256": sha256_of(MODEL)}}]
    provenance.statement_path(MODEL).write_text(json.dumps(plain(subject=subject)))
    with pytest.raises(UserError) as caught:
        sign.run(MODEL, KEY)
    assert caught.value.what.endswith(why)


def test_a_statement_about_another_file(folder: Path) -> None:
    subject = [{"name": "model.pt", "digest": {"sha256": DIGEST}}]
    provenance.statement_path(MODEL).write_text(json.dumps(plain(subject=subject)))
    with pytest.raises(UserError, match="it is about another file, or the file has changed since"):
        sign.run(MODEL, KEY)


def respelt(text: str) -> str:
    """The same bytes in other letters: the last one before the padding has bits that count for nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    assert len(text) - len(body) == 2
    other = body[:-1] + letters[letters.index(body[-1]) + 1] + "=="
    assert base64.b64decode(other, validate=True) == base64.b64decode(text)
    return other


def spaced(text: str) -> str:
    return text[:8] + "\n" + text[8:]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: {**e, "payload2": e["payload"]},
        lambda e: {**e, "payload": spaced(e["payload"])},
        lambda e: {**e, "payload": e["payload"].rstrip("=") + "===="},
        lambda e: {**e, "payload": e["payload"] + "="},
        lambda e: {**e, "payloadType": "application/json"},
        lambda e: {**e, "payloadType": [e["payloadType"]]},
        lambda e: {**e, "signatures": []},
        lambda e: {**e, "signatures": e["signatures"] * 2},
        lambda e: {**e, "signatures": e["signatures"][0]},
        lambda e: {**e, "signatures": [{**e["signatures"][0], "cert": "x"}]},
        lambda e: {**e, "signatures": [{**e["signatures"][0], "keyid": None}]},
        lambda e: {
            **e,
            "signatures": [{**e["signatures"][0], "sig": e["signatures"][0]["sig"][:-4]}],
        },
        lambda e: {
            **e,
            "signatures": [{**e["signatures"][0], "sig": respelt(e["signatures"][0]["sig"])}],
        },
        lambda e: json.dumps(e).replace('"payload":', '"payload": "e30=", "payload":'),
        lambda e: [e],
    ],
)
def test_envelopes_that_could_be_read_in_two_ways(folder: Path, change: Any) -> None:
    good = envelope(raw(plain()))
    put(good)
    signature.require(MODEL, PUBLIC)
    put(change(good))
    with pytest.raises(UserError, match="not a DSSE envelope around a statement"):
        signature.require(MODEL, PUBLIC)


def test_a_signature_over_another_type(folder: Path) -> None:
    """DSSE signs the type with the payload, so that one cannot be passed off as the other."""
    payload = raw(plain())
    kind = b"text/plain"
    key = keys.private_key(KEY)
    forged = envelope(payload)
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    forged["signatures"][0]["sig"] = base64.b64encode(key.sign(message)).decode()
    put(forged)
    with pytest.raises(UserError, match="forged or damaged"):
        signature.require(MODEL, PUBLIC)
    forged["signatures"][0]["sig"] = base64.b64encode(key.sign(payload)).decode()
    put(forged)
    with pytest.raises(UserError, match="forged or damaged"):
        signature.require(MODEL, PUBLIC)


def test_the_name_of_a_key_proves_nothing(folder: Path) -> None:
    """Another key's signature under the name of ours, and ours under another's."""
    sign.run(MODEL, Path("other.key"))
    path = signature.signature_path(MODEL)
    content = json.loads(path.read_text())
    content["signatures"][0]["keyid"] = keys.key_id(keys.public_key(PUBLIC))
    put(content)
    with pytest.raises(UserError, match="forged or damaged"):
        signature.require(MODEL, PUBLIC)
    del content["signatures"][0]["keyid"]
    put(content)
    with pytest.raises(UserError, match="forged or damaged"):
        signature.require(MODEL, PUBLIC)


def test_files_with_several_keys(folder: Path) -> None:
    Path("two.pub").write_bytes(Path("other.pub").read_bytes() + PUBLIC.read_bytes())
    Path("two.key").write_bytes(KEY.read_bytes() + Path("other.key").read_bytes())
    sign.run(MODEL, KEY)
    with pytest.raises(UserError, match="this is no public ed25519 key in PEM format"):
        signature.require(MODEL, Path("two.pub"))
    with pytest.raises(UserError, match="this is no private ed25519 key in PEM format"):
        sign.run(MODEL, Path("two.key"))


def test_pipes_are_not_waited_for(folder: Path) -> None:
    for name in ("pipe.pt", "pipe.key"):
        os.mkfifo(name)
    with pytest.raises(UserError, match="not a regular file"):
        sign.run(Path("pipe.pt"), KEY)
    with pytest.raises(UserError, match="the key is not a regular file"):
        sign.run(MODEL, Path("pipe.key"))


# ---- what was checked is what is used ----


def local(path: Path) -> Fetched:
    return Fetched(path, LocalFile(path))


@pytest.mark.parametrize("link", [False, True])
def test_what_is_swapped_after_the_check_is_not_used(folder: Path, link: bool) -> None:
    sign.run(MODEL, KEY)
    if link:
        MODEL.rename("good.pt")
        MODEL.symlink_to("good.pt")
    with signed([local(MODEL)], Namespace(require_signature=PUBLIC)) as (usable,):
        MODEL.unlink()
        MODEL.write_bytes(b"evil")
        assert usable.path.read_bytes() == b"weights"
        assert usable.path.name == "model.pt" and usable.path.parent.stat().st_mode & 0o77 == 0
    assert not usable.path.exists()


def test_without_a_required_signature_nothing_is_copied(folder: Path) -> None:
    with signed([local(MODEL)], Namespace(require_signature=None)) as (usable,):
        assert usable.path == MODEL


def test_an_image_sees_the_bytes_that_were_checked() -> None:
    checkpoint, copied = Path("/d/a.ckpt"), Path("/private/a.ckpt")
    mounts = Mounts(Path("/d"), writable=[Path("/d")], instead={checkpoint: copied})
    assert mounts.mounts() == [
        "type=bind,source=/d,destination=/d",
        "type=bind,source=/private/a.ckpt,destination=/d/a.ckpt,ro",
    ]


def test_reports_call_a_signed_file_what_the_user_does(model: Path) -> None:
    sign.run(MODEL, KEY)
    words = ["verify", "model.pt", "--only", "LOAD", "--require-signature", "lab.pub"]
    assert main([*words, "--json", "r.json"]) == 0
    assert json.loads(Path("r.json").read_text())["file"]["path"] == "model.pt"


def test_a_signed_checkpoint_is_not_overwritten(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("model.pt", "again.pt")
    sign.run(Path("again.pt"), KEY)
    Path("m.yaml").write_text("name: x\n")
    words = ["export", "again.pt", "-m", "m.yaml", "-o", "again.pt"]
    assert main([*words, "--require-signature", "lab.pub"]) == 2
    assert "the output would replace again.pt, which is read" in capsys.readouterr().err


# ---- what mtt sign vouches for ----


def payload() -> dict[str, Any]:
    content = json.loads(signature.signature_path(MODEL).read_text())["payload"]
    return dict(json.loads(base64.b64decode(content)))


def test_what_was_checked_is_vouched_for(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sign", "model.pt", "--key", "lab.key", "--ckpt", "model.ckpt", "--data", "data.xyz"]
    assert main(words) == 0
    header = read_header(Path("model.ckpt"))
    source = {"sha256": sha256_of(Path("model.ckpt")), "content_hash": header.content_hash}
    assert payload()["predicate"] == {
        "checked": {
            "weights_of": source,
            "export_of": source,
            "options": header.options_hash,
            "data": header.data_hash,
        }
    }
    assert capsys.readouterr().out == (
        "wrote model.pt.sig\n"
        "  signed: name and SHA-256 of model.pt, data -> checkpoint, options -> checkpoint, "
        "checkpoint -> model, weights -> model, export -> model\n"
        "  not checked, and not signed: what model.pt.intoto.json says beyond that\n"
    )
    signature.require(MODEL, PUBLIC)


def test_what_was_not_checked_is_not(model: Path) -> None:
    done = sign.run(MODEL, KEY, Path("model.ckpt"))
    assert "data" not in payload()["predicate"]["checked"]
    assert any("data -> checkpoint (give the data with --data)" in line for line in done.lines)


def test_a_broken_link_is_not_signed(model: Path) -> None:
    text = Path("data.xyz").read_text()
    Path("data.xyz").write_text(text.replace("0.", "1.", 1))
    with pytest.raises(UserError, match="^model.pt is not signed: data -> checkpoint is broken: "):
        sign.run(MODEL, KEY, Path("model.ckpt"), [Path("data.xyz")])
    assert not signature.signature_path(MODEL).exists()


@pytest.mark.parametrize(
    "place", ["checkpoint", "options", "training_set", "torch", "weights", "more"]
)
def test_a_statement_that_says_other_things_than_the_file(model: Path, place: str) -> None:
    """Whoever delivers a model with its statement cannot have other claims signed."""
    beside = provenance.statement_path(MODEL)
    content = json.loads(beside.read_text())
    definition = content["predicate"]["buildDefinition"]
    parts = {part["name"]: part for part in definition["resolvedDependencies"]}
    if place == "weights":
        definition["externalParameters"]["weights"] = "last"
    elif place == "more":
        definition["resolvedDependencies"].append({"name": "a", "digest": {"sha256": DIGEST}})
    elif place == "torch":
        parts["torch"]["annotations"]["version"] = "9.9"
    else:
        digest = parts["model.ckpt" if place == "checkpoint" else place]["digest"]
        digest[next(iter(digest))] = DIGEST
    beside.write_text(json.dumps(content))
    with pytest.raises(UserError, match="^model.pt is not signed: the statement beside it"):
        sign.run(MODEL, KEY)
    assert main(["show", "--chain", "model.pt"]) == 3
