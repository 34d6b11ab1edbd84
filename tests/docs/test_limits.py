"""The page of limits says what the code does."""

import re
from pathlib import Path

from mtt import canonical, files, printable
from mtt.checkpoint import safetensors_file
from mtt.data import file_limits, neighbors, read_files
from mtt.filetypes import bounded_zip
from mtt.options.reading import document, load, problems
from mtt.sources import watch

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "inputs-and-outputs.md"
LIMITS = [
    load.MAX_BYTES,
    document.MAX_VALUES,
    document.MAX_DEPTH,
    document.MAX_DIGITS,
    problems.MOST_SHOWN,
    canonical.MAX_DEPTH,
    canonical.MAX_VALUES,
    files.LARGEST_TEXT,
    safetensors_file.MAX_HEADER_BYTES,
    file_limits.MAX_LINE,
    file_limits.MAX_EXPANSION,
    file_limits.MEMORY,
    file_limits.MEMORY_PER_BYTE,
    read_files.MAX_COORDINATE,
    read_files.MIN_HEIGHT,
    neighbors.MAX_CUTOFF,
    neighbors.MAX_BOXES,
    neighbors.MAX_PAIRS,
    bounded_zip.MAX_DIRECTORY,
    watch.LOWEST_SPEED,
    watch.LONGEST,
    printable.LONGEST_LINE,
]


def test_the_table_has_every_limit_with_its_number() -> None:
    table = PAGE.read_text("utf-8").partition("## Limits")[2]
    numbers = [float(number) for number in re.findall(r"\| ([0-9.]+) \|$", table, re.MULTILINE)]
    assert numbers == [float(limit) for limit in LIMITS]
