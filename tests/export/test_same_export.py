"""The same checkpoint gives the same bytes: names, folders, hash seeds, threads and clocks do not matter."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command import mtt, run_mtt
from several_targets import potential_of, save

# Each starts Python twice and imports torch; all twenty take a minute and a half.
EXPORTS = int(os.environ.get("MTT_SAME_EXPORTS", "5"))
YEAR = 365 * 86400


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A library that sets the clock, if it can be compiled."""
    if shutil.which("cc") is None:
        return None
    library = tmp_path_factory.mktemp("clock") / "other_clock.so"
    source = Path(__file__).parent / "other_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finished(model: Path) -> str:
    statement = json.loads(model.with_name(f"{model.name}.intoto.json").read_bytes())
    return statement["predicate"]["runDetails"]["metadata"]["finishedOn"]


def test_many_exports_are_one(trained: Path, clock: Path | None, tmp_path: Path) -> None:
    """Without verification, which reads the finished file and so cannot change it."""

    def export(number: int) -> Path:
        folder = tmp_path / ["a", "b c", "ü", "d" * 60][number % 4] / str(number)
        folder.mkdir(parents=True)
        checkpoint = shutil.copy(trained / "model.ckpt", folder / f"copy {number}.ckpt")
        environment = {"PYTHONHASHSEED": str(number) if number % 2 else "random"}
        environment |= {"OMP_NUM_THREADS": str(1 + number % 2), "TZ": f"UTC{number - 10:+d}"}
        if clock is not None:
            environment |= {"LD_PRELOAD": str(clock), "CLOCK_SHIFT": str((number - 10) * YEAR)}
        output = folder / ["model.pt", "an other name.pt", "änders.pt"][number % 3]
        # Some name their files from elsewhere, some from where they lie.
        where = folder if number % 5 else trained
        names = [checkpoint, output] if number % 5 else [Path(checkpoint), output]
        mtt(where, "export", str(names[0]), "-o", str(names[1]), "--no-verify", **environment)
        return output

    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(export, range(EXPORTS)))
    assert len({digest(one) for one in written}) == 1
    if clock is not None:  # the clocks were really set
        years = [int(finished(one)[:4]) for one in written]
        now = time.gmtime().tm_year
        assert [year - now for year in years[:3]] == [-10, -9, -8]


def test_what_train_exports_is_what_export_exports(trained: Path, tmp_path: Path) -> None:
    mtt(tmp_path, "export", str(trained / "model.ckpt"), "-o", "again.pt", PYTHONHASHSEED="7")
    assert digest(tmp_path / "again.pt") == digest(trained / "model.pt")


def test_several_targets_make_no_difference(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "model.ckpt", potential_of())
    written = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.pt"
        arguments = ("export", str(checkpoint), "-o", str(output), "--no-verify")
        mtt(tmp_path, *arguments, PYTHONHASHSEED=seed)
        written.append(digest(output))
    assert written[0] == written[1]


def test_no_path_of_this_machine_is_in_the_file(trained: Path) -> None:
    with zipfile.ZipFile(trained / "model.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    noted = {
        name: found
        for name, record in content.items()
        if (found := re.findall(rb"[\w.-]*/[\w./-]*\.(?:py|xyz)", record))
    }
    assert {path for found in noted.values() for path in found if path.startswith(b"/")} == set()
    used = {path.partition(b"/")[0] for found in noted.values() for path in found}
    assert {b"torch", b"mtt", b"metatomic"} <= used
    for folder in (str(trained), sys.prefix, str(Path.home())):
        assert all(folder.encode() not in record for record in content.values())


def test_the_date_is_that_of_source_date_epoch(trained: Path, tmp_path: Path) -> None:
    arguments = ("export", str(trained / "model.ckpt"), "--no-verify", "-o")
    mtt(tmp_path, *arguments, "one.pt", SOURCE_DATE_EPOCH="1700000000")
    assert finished(tmp_path / "one.pt") == "2023-11-14T22:13:20Z"
    done = run_mtt(tmp_path, *arguments, "two.pt", SOURCE_DATE_EPOCH="yesterday")
    assert (done.returncode, done.stderr) == (
        2,
        "error: SOURCE_DATE_EPOCH is not a number of seconds: 'yesterday'\n"
        "  where: the environment\n"
        "  hint: unset it, or set it to what 'date +%s' prints, for instance SOURCE_DATE_EPOCH=0\n",
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one.pt", "one.pt.intoto.json"]
