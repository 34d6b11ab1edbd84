"""The number of threads is that with which a step is fastest, unless somebody has said it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import make_options, write_data

from mtt import checkpoint
from mtt.training import control_group, threads

# Two threads share one core: they are slower than one, as on a machine that is busy. They take this
# core over from the thread that asks torch for them, once torch has counted the cores.
CROWDED = """
import os, sys
import torch
assert torch.get_num_threads() > 1 or sys.exit(77)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from mtt.__main__ import main
from mtt.training import run as train
train._pictures = train._export = lambda *_: None  # tests of their own
sys.exit(main(["train", "options.yaml", *sys.argv[1:]]))
"""
# Large enough for torch to divide its operations among threads.
WIDE = {
    "d_pet": 64,
    "d_node": 128,
    "d_head": 64,
    "d_feedforward": 128,
    "num_heads": 4,
    "num_gnn_layers": 1,
    "num_attention_layers": 1,
}


def train(folder: Path, *words: str, **environment: str) -> str:
    """Run the program with two threads on one core, and return what it says."""
    kept = {name: value for name, value in os.environ.items() if name not in threads._VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", CROWDED, *words],
        cwd=folder,
        env={**kept, "OMP_WAIT_POLICY": "active", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("there is one core")
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(folder: Path) -> list[str]:
    return [
        part.values["threads"] for part in checkpoint.read_header(folder / "model.ckpt").conditions
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Options of a run of one epoch."""
    write_data(tmp_path / "data.xyz", n=28)
    training = {"num_epochs": 1, "batch_size": 20}
    architecture = {"name": "pet", "model": WIDE, "training": training}
    make_options(tmp_path, architecture=architecture)
    return tmp_path


def test_one_thread_where_two_are_slower(folder: Path) -> None:
    said = train(folder)
    assert "threads: 1, as a step takes" in said
    assert recorded(folder) == ["1"]


def test_a_number_from_the_environment_is_kept_and_doubted(folder: Path) -> None:
    said = train(folder, OMP_NUM_THREADS="2")
    assert "warning: 2 threads (OMP_NUM_THREADS) are slower than 1: a step takes" in said
    assert recorded(folder) == ["2"]


def test_the_smallest_number_that_is_as_fast() -> None:
    asked = []

    def seconds(times: dict[int, float]) -> dict[int, float]:
        asked.clear()
        return threads.measure(threads.numbers(max(times)), lambda n: asked.append(n) or times[n])

    assert threads.numbers(12) == [12, 6, 3, 1]
    idle = {8: 1.0, 4: 1.9, 2: 3.6, 1: 7.0}
    assert threads.fastest(seconds(idle)) == 8
    assert asked == [8, 4]  # fewer are not tried, and what is clear is measured once
    small = {8: 1.0, 4: 0.6, 2: 0.59, 1: 0.6}
    assert threads.fastest(seconds(small)) == 1
    assert asked.count(8) == 1 and asked.count(1) == 3
    crowded = {8: 9.0, 4: 0.7, 2: 0.5, 1: 0.9}
    assert threads.fastest(seconds(crowded)) == 2


def test_what_disturbs_one_measurement_does_not_count() -> None:
    times = {4: iter([0.3, 0.2, 0.2]), 2: iter([0.31, 0.38, 0.38])}
    assert threads.measure([4, 2], lambda n: next(times[n])) == {4: 0.2, 2: 0.31}


def test_the_number_of_the_process_is_restored() -> None:
    before = torch.get_num_threads()
    with threads.threads_restored():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("group", "files", "processors", "memory"),
    [
        ("0::/job\n", {"job/cpu.max": "150000 100000", "job/memory.max": "1000"}, 1.5, 1000.0),
        # The limit of a group holds for those inside.
        (
            "0::/job/step\n",
            {"job/step/cpu.max": "max 100000", "job/cpu.max": "200000 100000", "memory.max": "7"},
            2.0,
            7.0,
        ),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        (
            "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n",
            {
                "cpu/a/cpu.cfs_quota_us": "50000",
                "cpu/a/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/a/memory.limit_in_bytes": "9223372036854771712",
            },
            0.5,
            None,
        ),
        ("0::/job\n", {"job/cpu.max": "many 0"}, None, None),
        ("no groups\n", {}, None, None),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    files: dict[str, str],
    processors: float | None,
    memory: float | None,
) -> None:
    for name, text in {
        "cgroup": group,
        **{f"groups/{file}": t for file, t in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(control_group, "_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_group, "_GROUPS", tmp_path / "groups")
    assert (control_group.processors(), control_group.memory()) == (processors, memory)
