"""Checks run apart from the model: what they want of libtorch or of the process, they ask its host for."""

import re
from pathlib import Path

CSRC = Path(__file__).parents[2] / "csrc"
# Functions about this process, which would tell of the supervisor or change it, and not the model's.
LOCAL = re.compile(
    r"(?<![.>\w])(with_executor|prepare_torch|prepare_thread|(?:set_)?torch_threads|cuda_available|torch_warnings|"
    r"torch_state|shared_state|process_state|call_count|allocated_bytes|(?:peak_)?resident_bytes|"
    r"reset_peak_resident_bytes|FloatExceptions|load_model|load_predictor)\b\s*[({]"
)


def test_no_check_asks_its_own_process() -> None:
    files = [
        *(CSRC / "checks").glob("*.cpp"),
        CSRC / "runner/context.cpp",
        CSRC / "runner/runner.cpp",
    ]
    assert len(files) > 30
    wrong = [
        f"{path.name}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if LOCAL.search(line)
    ]
    assert wrong == [], "ask context.host() instead"


def test_the_guard_sees_what_it_is_for() -> None:
    assert LOCAL.search("    const auto session = with_executor(profile.executor);")
    assert not LOCAL.search("    const auto session = context.host().with_executor(executor);")
