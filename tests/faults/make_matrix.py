"""Write docs/develop/fault-corpus.md: the faults, and the checks that must kill them.

``python tests/faults/make_matrix.py`` writes the page, ``--check`` only says whether it is current.
That the checks do kill the faults is what ``test_faults.py`` asserts.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from corpus import Fault, load_corpus  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "develop" / "fault-corpus.md"
HEADER = """\
# Faults that `mtt verify` catches

A check that cannot fail is a defect. Each row is a broken export that the tests build and give to
`mtt-verify`; the checks named must fail, and every check of the program is named at least once.
Sound models must pass all of them. Made by `tests/faults/make_matrix.py`: do not edit it.

The letter of a number is its topic: L packaging and metadata, N numbers and gradients, D domains
and neighbor lists, P geometry and physics, R resources and run time, T targets; after an @ stands the target that
must fail alone.

"""


def page(faults: list[Fault]) -> str:
    lines = [f"{len(faults)} faults.\n", "| number | fault | killed by |", "|---|---|---|"]
    for fault in sorted(faults, key=lambda f: ("LNDPRT".index(f.number[0]), f.number, f.name)):
        checks = "<br>".join(fault.checks)
        lines.append(f"| {fault.number} | {fault.description} | {checks} |")
    return HEADER + "\n".join(lines) + "\n"


def main() -> int:
    text = page(list(load_corpus().values()))
    if "--check" not in sys.argv:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    print(f"{PAGE.name} is not current: run python {Path(__file__).name}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
