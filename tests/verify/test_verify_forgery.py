"""A model that has taken over its whole process still does not write its verdict."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from toy_models import export_toy

from mtt.verify import run as verify

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]
SOURCE = Path(__file__).parent / "forger.c"


def report_on(how: int, folder: Path, *options: str) -> dict[str, Any]:
    """Return the report on a sound model whose extension answers in its place."""
    declared = json.dumps([{"name": "forger", "path": "libforger.so"}])
    model = export_toy(folder / "model.pt", records={"extensions": declared})
    extensions = folder / "extensions"
    extensions.mkdir()
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", f"-DHOW={how}", str(SOURCE)]
        + ["-o", str(extensions / "libforger.so")],
        check=True,
    )
    command = [str(verify.program()), str(model), "--extensions", str(extensions)]
    done = subprocess.run(
        [*command, "--json", "-", "--quiet", "--level", "quick", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 3 and report["verdict"] == "fail"
    return report


def messages(report: dict[str, Any], status: str) -> dict[str, str]:
    return {
        f"{check['family']}/{check['name']}": check["message"]
        for check in report["checks"]
        if check["status"] == status
    }


def test_made_up_numbers_are_compared_with_references_out_of_reach(tmp_path: Path) -> None:
    report = report_on(0, tmp_path, "--only", "LOAD/model,PARITY/forces,PARITY/energy")
    # It does answer in the place of the model: its process lives and is believed to be loaded.
    assert messages(report, "pass").keys() == {"LOAD/model"}
    assert report["model"]["name"] == "perfect"
    failed = messages(report, "fail")
    assert failed.keys() == {"PARITY/energy", "PARITY/forces"}
    assert all(
        "does not compute what the trained model computed" in text for text in failed.values()
    )


def test_a_verdict_in_the_channel_is_a_finding(tmp_path: Path) -> None:
    failed = messages(report_on(1, tmp_path), "fail")
    assert list(failed) == ["LOAD/model"]
    assert "it tampers with the program that checks it" in failed["LOAD/model"]


def test_an_answer_to_a_question_that_nobody_asked_is_a_finding(tmp_path: Path) -> None:
    failed = messages(report_on(2, tmp_path), "fail")
    assert list(failed) == ["LOAD/model"]
    assert "it tampers with the program that checks it" in failed["LOAD/model"]
