"""Archives that libtorch and other readers would find different records in are refused."""

import sys
from pathlib import Path

import pytest

from mtt.errors import UserError
from mtt.filetypes import bounded_zip, recognize

sys.path.insert(0, str(Path(__file__).parents[1] / "verify"))
import hostile_scripts  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning"),
]
FOUND_BY_NAME = {
    "two_folders", "folder_inside", "no_folder", "twice", "case", "case_of_folder", "dots",
    "absolute", "backslash", "nul", "before", "comment",
}  # fmt: skip


@pytest.fixture(scope="module")
def records() -> hostile_scripts.Records:
    return hostile_scripts.base()


def test_layouts(records: hostile_scripts.Records, tmp_path: Path) -> None:
    accepted = set()
    for name, content in hostile_scripts.layouts(records):
        path = tmp_path / f"{name}.pt"
        path.write_bytes(content)
        try:
            with bounded_zip.opened(path):
                accepted.add(name)
        except bounded_zip.ZipProblem:
            continue
    assert accepted & FOUND_BY_NAME == set()


def test_extensions_elsewhere(records: hostile_scripts.Records, tmp_path: Path) -> None:
    tried = 0
    for name, make in hostile_scripts.objects():
        if name.startswith("extra/extensions") and not name.endswith("path-"):
            tried += 1
            hostile_scripts.write(tmp_path / "model.pt", make(records))
            refused = pytest.raises(bounded_zip.ZipProblem, match="extension")
            with refused, bounded_zip.opened(tmp_path / "model.pt"):
                pass
    assert tried == 12


def test_the_sound_archive(records: hostile_scripts.Records, tmp_path: Path) -> None:
    hostile_scripts.write(tmp_path / "model.pt", records)
    with bounded_zip.opened(tmp_path / "model.pt") as archive:
        assert len(archive.namelist()) == len(records)


def test_show_and_export_refuse(records: hostile_scripts.Records, tmp_path: Path) -> None:
    path = tmp_path / "two.pt"
    path.write_bytes(dict(hostile_scripts.layouts(records))["two_folders"])
    assert recognize.describe(path).kind == "zip-damaged"
    with pytest.raises(UserError, match="more than one folder"):
        recognize.require_own(path, "a model")
