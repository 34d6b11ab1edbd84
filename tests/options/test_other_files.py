"""A data file, a checkpoint or a model in the place of options is told as what it is."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.options import load_eval_options, load_options

CHECKPOINT = (64).to_bytes(8, "little") + b'{"__metadata__":{"mtt":"' + b"\xff" * 50
FRAME = "1\nProperties=species:S:1:pos:R:3 energy=0\nH 0 0 0\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.ckpt").write_bytes(CHECKPOINT)
    Path("small.xyz").write_text(FRAME)
    Path("large.xyz").write_text(FRAME * 200_000)
    database = sqlite3.connect("data.db")
    database.execute("create table systems (id integer)")
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("load", "path", "what", "hint"),
    [
        (load_options, "model.ckpt", "a checkpoint of mtt", "mtt train options.yaml -c model.ckpt"),
        (load_eval_options, "model.ckpt", "a checkpoint of mtt", "mtt eval model.ckpt eval.yaml"),
        (load_options, "small.xyz", "a file of structures", "'training_set: small.xyz'"),
        (load_options, "large.xyz", "a file of structures", "'training_set: large.xyz'"),
        (load_eval_options, "small.xyz", "a file of structures", "systems: small.xyz"),
        (load_options, "data.db", "an SQLite database", "written in YAML"),
    ],
)
def test_told_as_what_it_is(
    load: Callable[[Path], object], path: str, what: str, hint: str
) -> None:
    with pytest.raises(UserError) as raised:
        load(Path(path))
    text = raised.value.report()
    assert f"this is {what}" in text
    assert "not an options file" in text
    assert f"where: {path}" in text
    assert hint in text


def test_text_with_a_mistake_stays_options() -> None:
    Path("options.yaml").write_text("Roses are red\nviolets are blue\n")
    with pytest.raises(UserError, match="expected a mapping of options"):
        load_options(Path("options.yaml"))
