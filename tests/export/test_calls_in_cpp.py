"""Calls by the C++ program of the benchmarks: what they compute is what Python computes, whole and in domains."""

import json
import sys
from pathlib import Path

import ase.io
import exported_call
import pytest
from ase.build import bulk


def test_calls_of_the_program_and_of_python_agree(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (exported_call.BUILD / "tests/mtt-calls").exists():
        pytest.skip("mtt-calls is not compiled: `make ctest` does that")
    box = bulk("Cu", cubic=True) * (3, 2, 2)
    box.rattle(0.1, seed=0)
    ase.io.write(tmp_path / "box.xyz", box)
    files = [str(tmp_path / "box.xyz"), str(trained / "model.pt"), "--json", str(tmp_path / "json")]

    def rows(*options: str) -> list[dict]:
        words = [*files, "--atoms", str(len(box)), "--calls", "1", *options]
        monkeypatch.setattr(sys, "argv", ["exported_call.py", *words])
        exported_call.main()
        return json.loads((tmp_path / "json").read_text())

    (expected,) = rows("--python")
    found = rows("--domains", "1,8")
    assert expected["by"] == "Python" and {row["by"] for row in found} == {"C++"}
    assert [row["domains"] for row in found] == [1, 8]
    for row in found:
        assert row["energy"] == pytest.approx(expected["energy"], abs=1e-4)
        assert row["wall"] > 0 and row["processor"] > 0 and row["peak"] > 50
    assert found[0]["with ghosts"] == len(box) < found[1]["with ghosts"]
