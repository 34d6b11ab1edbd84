"""The recipes for CI services: their YAML is read, and their shell lines are run, as a runner would."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_models import Pair, export_toy

from mtt.errors import UserError
from mtt.verify import run as stage

RECIPES = Path(__file__).parents[2] / "docs" / "examples" / "ci"


class Short(Pair):
    """Declares half of its interaction range."""

    def range(self) -> float:
        return 0.5 * self.cutoff


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with ``models/good.pt`` and ``models/bad.pt``, and ``bin/mtt``."""
    try:
        stage.program()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("repository")
    for name in ("models", "bin"):
        (path / name).mkdir()
    export_toy(path / "models" / "good.pt", "pair")
    export_toy(path / "models" / "bad.pt", Short)
    program = path / "bin" / "mtt"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mtt "$@"\n')
    program.chmod(0o755)
    return path


def recipe(name: str) -> Any:
    return yaml.safe_load((RECIPES / name).read_text())


def shell(repository: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as GitHub's and GitLab's runners do: bash, ending at the first failure."""
    environment = {**os.environ, **variables, "PATH": f"{repository / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def github(repository: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    _, verify = recipe("action.yml")["runs"]["steps"]
    assert set(verify["env"]) == {"MODELS", "LEVEL", "OPTIONS"}
    return shell(repository, verify["run"], **{"LEVEL": "full", "OPTIONS": "", **variables})


def test_github_action_passes_a_sound_model(repository: Path) -> None:
    options = "--only LOAD,SCHEMA,PARITY"
    done = github(repository, MODELS="models/good.pt", OPTIONS=options)
    assert done.returncode == 0, done.stderr
    reports = repository / "mtt-verify"
    assert json.loads((reports / "report.json").read_text())["verdict"] == "pass"
    assert json.loads((reports / "report.sarif").read_text())["runs"][0]["results"] == []
    assert b"models/good.pt" in (reports / "report.html").read_bytes()


def test_github_action_marks_what_fails_and_takes_waivers(repository: Path) -> None:
    options = '--only SCHEMA --skip "SCHEMA/devices=no GPU, * never"'
    done = github(repository, MODELS="models/*.pt", OPTIONS=options)
    assert done.returncode == 3
    assert "\n::error file=models/bad.pt,title=SCHEMA/interaction range::" in done.stdout
    assert done.stdout.count("no GPU, * never") == 2
    suites = ET.parse(repository / "mtt-verify" / "report.xml").getroot()
    bad, bad_verdicts, good, good_verdicts = (int(suite.get("failures", 0)) for suite in suites)
    assert (bad, good, good_verdicts) == (1, 0, 0) and bad_verdicts > 0


def test_github_action_declares_what_its_steps_use() -> None:
    action = recipe("action.yml")
    used = {
        value.removeprefix("${{ inputs.").removesuffix(" }}")
        for step in action["runs"]["steps"]
        for value in step["env"].values()
    }
    assert used == set(action["inputs"])
    assert all("${{" not in step["run"] for step in action["runs"]["steps"])
    (call,) = [
        step
        for step in recipe("workflow.yml")["jobs"]["verify"]["steps"]
        if step["uses"].startswith("./")
    ]
    assert set(call["with"]) <= set(action["inputs"])


def test_gitlab_job_keeps_its_reports(repository: Path) -> None:
    job = recipe("gitlab-ci.yml")["verify-potentials"]
    script = "\n".join(job["script"])
    assert shell(repository, script, MODELS="models/bad.pt").returncode == 3
    assert shell(repository, script, MODELS="models/good.pt").returncode == 0
    assert (repository / job["artifacts"]["reports"]["junit"]).is_file()
    assert job["artifacts"]["paths"] == ["mtt-verify/"]
