"""Options that were made to harm: one message, within seconds, whatever is in them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtt.errors import UserError
from mtt.images.mounts import content_of
from mtt.options import load_eval_options, load_metadata, load_options
from mtt.options.reading.document import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, dump, parse
from mtt.options.reading.load import MAX_BYTES

GOOD = "architecture: pet\ntraining_set: data.xyz\nvalidation_set: 0.1\nseed: {}\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
MERGED = "m0: &m0 {x: 1}\n" + "".join(
    f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}], y{k}: 1}}\n" for k in range(1, 10)
)
HOSTILE: dict[str, tuple[bytes | str, str]] = {
    "a list, 900 deep": (GOOD.format("[" * 900 + "]" * 900), "nested too deeply"),
    "a list, just too deep": (
        GOOD.format("[" * MAX_DEPTH + "]" * MAX_DEPTH),
        "nested too deeply",
    ),
    "a list, 100,000 deep": (GOOD.format("[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "mappings, not closed": (GOOD.format("{a: " * 50_000), "nested too deeply"),
    "a block, 3,000 deep": (
        "\n".join(" " * k + f"k{k}:" for k in range(3000)),
        "nested too deeply",
    ),
    "dashes, 3,000 deep": (GOOD.format("\n " + "- " * 3000 + "1"), "nested too deeply"),
    "aliases of aliases": (LAUGHS + GOOD.format("1"), "too many values"),
    "aliases as a value": (LAUGHS + GOOD.format("*a9"), "too many values"),
    "merges of merges": (MERGED + GOOD.format("1"), "too many values"),
    "an alias of itself": (GOOD.format("&s [*s]"), "an alias refers to itself"),
    "a merge of itself": ("x: &x\n  <<: *x\n" + GOOD.format("1"), "an alias refers to itself"),
    "more keys than there may be": (
        "".join(f"k{k}: 1\n" for k in range(MAX_VALUES)),
        "too many values",
    ),
    "20,000 unknown keys": (
        GOOD.format("1") + "".join(f"k{k}: 1\n" for k in range(20_000)),
        "there are 20000 mistakes: this is another file",
    ),
    "20,000 digits": (GOOD.format("9" * 20_000), "a number of 20000 characters is too long"),
    "20,000 digits, in hexadecimal": (GOOD.format("0x" + "f" * 20_000), "is too long"),
    "one digit too many": (GOOD.format("9" * (MAX_DIGITS + 1)), "is too long"),
    "underscores": (GOOD.format("1" + "_" * 100_000), "is too long"),
    "an exponent": (GOOD.format("1e999999"), "expected an integer, found inf"),
    "a long number as a key": ("9" * 1000 + ": 1\n", "is too long"),
    "a key twice": (GOOD.format("1") + "seed: 2\n", "given twice"),
    "a tag of Python": (GOOD.format("!!python/object/apply:os.system [x]"), "is not supported"),
    "bytes": (GOOD.format("!!binary aGVsbG8="), "is not supported"),
    "a set": (GOOD.format("!!set {a, b}"), "is not supported"),
    "no number": (GOOD.format("!!int abc"), "is not of the YAML type"),
    "sexagesimal": (GOOD.format("190:20:30"), "expected an integer, found '190:20:30'"),
    "octal": (GOOD.format("0o9"), "expected an integer"),
    "a text of 5 MB": (GOOD.format("x" * 5_000_000), "expected an integer"),
    "a quote, not closed": (GOOD.format('"' + "a" * 1_000_000), "not YAML"),
    "a name with a zero byte": (GOOD.replace("data.xyz", '"a\\0b"').format("1"), "not found"),
    "half a character": (GOOD.replace("data.xyz", '"\\ud800"').format("1"), "not found"),
    "UTF-16": (GOOD.format("1").encode("utf-16"), "not a text file in UTF-8"),
    "Latin-1": (GOOD.format("é").encode("latin-1"), "not a text file in UTF-8"),
    "a zero byte": (GOOD.format("\0"), "the character U+0000 is not allowed"),
    "two documents": (GOOD.format("1") + "---\nseed: 2\n", "not YAML"),
    "a list as a key": (GOOD.format("1") + "? [a]\n: 1\n", "must be a single word"),
    "too many bytes": ("#" + "x" * MAX_BYTES, "too large"),
    "nothing": ("", "the file is empty"),
}
LOADERS: list[Callable[[Path], object]] = [load_options, load_eval_options, load_metadata]


@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_one_message_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.xyz").write_text("3\n")
    path = Path("options.yaml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    slow = path.stat().st_size > 200_000 or "&a1" in str(text)
    for loader in LOADERS[:1] if slow else LOADERS:
        began = time.monotonic()
        with pytest.raises(UserError) as raised:
            loader(path)
        message = str(raised.value)
        assert time.monotonic() - began < 20
        assert len(message) < 50_000
        if loader is load_options:
            assert expected in message
    if not slow:
        content_of(path)  # for the mounts of an image, before anybody has checked it


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=" + "[" * 900 + "]" * 900, "nested too deeply"),
        ("seed=" + "9" * 20_000, "is too long"),
        ("seed=&s [*s]", "an alias refers to itself"),
        ("seed=!!python/name:os.system", "is not supported"),
        ("seed=\0", "is not allowed"),
        (".".join(["a"] * 5000) + "=1", "more than 50 names"),
        ("x" * 100_000 + "=1", "-r xxx"),
        ("training_set[" + "9" * 20_000 + "]=1", ""),
        ("seed=\x1b[2J\u202e", "\\x1b[2J\\u202e"),
    ],
)
def test_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.xyz").write_text("3\n")
    path = tmp_path / "options.yaml"
    path.write_text(GOOD.format("1"))
    with pytest.raises(UserError) as raised:
        load_options(path, [override])
    assert expected in str(raised.value)
    assert len(str(raised.value)) < 10_000


def test_what_is_large_and_honest_is_taken(tmp_path: Path) -> None:
    """Many indices, and a depth that people reach."""
    path = tmp_path / "eval.yaml"
    data = tmp_path / "data.xyz"
    data.write_text("3\n")
    indices = ", ".join(map(str, range(50_000)))
    path.write_text(f"systems:\n  read_from: {data}\n  indices: [{indices}]\n")
    (entry,) = load_eval_options(path)
    assert entry.systems.indices == list(range(50_000))


@example("1e5")
@example("a\x85b")
@example(" \u2028")
@given(
    st.text(alphabet="0123456789eE+-._:xobinfat~y\n\r\t \x85\u2029", max_size=8)
    | st.text(max_size=8)
)
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    written = {"key": text, "list": [1e-5, 3, True, None, {"a": text}], text: 2.5}
    root, problems = parse(dump(written))
    assert not problems and root is not None
    assert root.plain() == written
