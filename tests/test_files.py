"""A file is there whole or not at all, and what was there before stays until then."""

import errno
import stat
from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.files import check_regular, check_writable, reading, replacing, unwritable


def test_replaced_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(28, "full")])
def test_nothing_is_lost_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert str(unwritable(path, OSError(errno.ENOSPC, "No space left on device"))) == (
        f"the disk is full\n  where: {path}\n"
        "  hint: free some space; nothing that was there has been overwritten"
    )
    assert str(unwritable(path, OSError(errno.EROFS, "Read-only file system"))) == (
        f"the file cannot be written: Read-only file system\n  where: {path}"
    )
    with pytest.raises(UserError, match="the output is a folder; a file name is needed"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        check_writable(tmp_path / "no" / "a.txt")
    check_writable(path)
    assert not path.exists()


def test_errors_of_reading(tmp_path: Path) -> None:
    def message(path: Path, *names: str) -> str:
        with pytest.raises(UserError) as caught, reading(path, *names):
            check_regular(path)
            path.read_bytes()
        return str(caught.value)

    missing = tmp_path / "missing"
    assert message(missing) == f"there is no such file\n  where: {missing}"
    assert message(missing, "key", "hf://a/b/c") == "there is no such key\n  where: hf://a/b/c"
    assert message(tmp_path) == f"this is not a regular file: it is a folder\n  where: {tmp_path}"
    match = r"\Athe key cannot be read: Is a directory\n"
    with pytest.raises(UserError, match=match), reading(tmp_path, "key"):
        tmp_path.read_bytes()
