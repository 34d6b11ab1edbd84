"""Exports that several tests need are made once."""

import dataclasses
from pathlib import Path

import pytest

from mtt.export import process
from mtt.files import sha256_of

_made: dict[str, bytes] = {}
_run = process.run


def _once(task: process.Task) -> bytes:
    plain = dataclasses.replace(task, checkpoint=Path("any"))
    key = f"{sha256_of(task.checkpoint)} {plain}"
    if key not in _made:
        _made[key] = _run(task)
    return _made[key]


@pytest.fixture(autouse=True)
def exports_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same task gives the same bytes, which tests/export/test_same_export.py makes sure of."""
    monkeypatch.setattr(process, "run", _once)
