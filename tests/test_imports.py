"""Imports without the search for garbage: off within, on after, and nothing for other programs."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, sys
from mtt.imports import without_collector
BEFORE
with without_collector():
    within = gc.isenabled()
    import yaml
print(within, gc.isenabled(), gc.get_freeze_count() > 10000)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "False True True"),
        ("gc.disable()", "False False True"),
        # Another program that has imported torch by itself.
        ("sys.modules['torch'] = sys", "True True False"),
    ],
    ids=["program", "off already", "other program"],
)
def test_the_collector_rests_while_large_libraries_are_imported(before, expected):
    command = [sys.executable, "-c", SCRIPT.replace("BEFORE", before)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_training_collects_garbage(tmp_path):
    """What is off while mtt imports must be on again when it runs, also after a mistake."""
    text = (
        "import gc; from mtt.__main__ import main; "
        "code = main(['train', 'missing.yaml']); print(code, gc.isenabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "2 True"
