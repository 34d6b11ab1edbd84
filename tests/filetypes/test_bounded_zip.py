"""Archives that libtorch would read in another way are refused, by every command that looks into one."""

import io
import zipfile
from pathlib import Path

import pytest
from toy_models import export_toy

from mtt.errors import UserError
from mtt.filetypes import bounded_zip
from mtt.inspect import describe

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:Duplicate")
RECORDS = {"m/constants.pkl": b"c", "m/data.pkl": b"d", "m/code/a.py": b"e"}


def archive(records: list[tuple[str, bytes]], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in records:
            file.writestr(zipfile.ZipInfo(name), content)
        file.comment = comment
    return buffer.getvalue()


def problem(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    try:
        with bounded_zip.opened(path):
            return ""
    except bounded_zip.ZipProblem as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("z/data.pkl", "more than one folder"),
        ("m/data.pkl", "two records"),
        ("m/DATA.pkl", "two records"),
        ("m/../data.pkl", "leads elsewhere"),
        ("/m/data.pkl", "more than one folder"),
        ("m//data.pkl", "leads elsewhere"),
        ("m/a\\b", "leads elsewhere"),
        ("m/a\x1b[2J", "leads elsewhere"),
        ("data.pkl", "more than one folder"),
    ],
)
def test_a_record_that_another_reader_would_not_find(tmp_path: Path, name: str, why: str) -> None:
    records = [*RECORDS.items()]
    assert problem(tmp_path / "m.pt", archive(records)) == ""
    assert why in problem(tmp_path / "m.pt", archive([*records, (name, b"x")]))


def test_bytes_before_and_after(tmp_path: Path) -> None:
    content = archive([*RECORDS.items()])
    other = archive([("m/constants.pkl", b"other")])
    assert "before or after it" in problem(tmp_path / "m.pt", other + content)
    assert "before or after it" in problem(tmp_path / "m.pt", archive([*RECORDS.items()], b"hi"))


def test_archives_of_others_are_none_of_our_business(tmp_path: Path) -> None:
    assert problem(tmp_path / "a.zip", archive([("a/b", b"x"), ("c/d", b"y"), ("e", b"z")])) == ""


def test_a_real_model_with_a_second_folder_is_not_described(tmp_path: Path) -> None:
    model = export_toy(tmp_path / "model.pt")
    assert describe.describe(model)
    with zipfile.ZipFile(model, "a") as file:
        file.writestr("zzz/data.pkl", b"trusted twin")
    with pytest.raises(UserError, match="more than one folder"):
        describe.describe(model)
