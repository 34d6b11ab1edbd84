"""What is imported when, and that the search for garbage rests meanwhile: off within, on after."""

import subprocess
import sys

import pytest

import mtt.options

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


def test_an_export_waits_for_no_options_of_training():
    """It needs the hypers of one architecture; all options and their readers take a tenth of a second."""
    text = """
import sys
from mtt import architecture_registry
from mtt.checkpoint.upgrade_steps import to_installed
from mtt.export import run
architecture_registry.get("pet").ModelHypers
slow = ("torch", "mtt.options.schema.options", "mtt.options.foreign.translate", "mtt.verify.waivers")
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_of_the_options_are_imported_when_they_are_asked_for():
    for name in mtt.options.__all__:
        assert getattr(mtt.options, name).__name__ == name
    assert set(mtt.options.__all__) <= set(dir(mtt.options))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = mtt.options.nothing
