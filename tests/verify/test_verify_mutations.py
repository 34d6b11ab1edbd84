"""Damaged and forged files get a verdict; ``mutations.py`` runs many more of them by hand."""

import collections
from pathlib import Path

import pytest
from mutations import KINDS, Ended, judge, mutate
from toy_models import export_toy

from mtt.verify import run as verify

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export_toy(tmp_path_factory.mktemp("mutations") / "model.pt").read_bytes()


def test_every_damaged_file_gets_a_verdict(content: bytes, tmp_path: Path) -> None:
    # One file of each kind, from LOAD to the first calls.
    ended = [
        judge(verify.program(), content, seed, tmp_path, "LOAD,SCHEMA")
        for seed in range(len(KINDS), 2 * len(KINDS))
    ]
    assert [e for e in ended if e.problem] == []
    assert collections.Counter(e.code for e in ended)[3] >= len(KINDS) // 2


def test_the_sound_file_passes(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutations.mutate", lambda content, seed: ("none", content))
    ended = judge(verify.program(), content, 0, tmp_path, "LOAD,SCHEMA")
    assert ended == Ended(0, "none", 0, ended.seconds, [], "")


def test_mutations_repeat(content: bytes) -> None:
    for seed in range(3 * len(KINDS)):
        kind, mutated = mutate(content, seed)
        assert (kind, mutated) == mutate(content, seed)
        assert mutated != content, kind
