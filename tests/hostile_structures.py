"""Files of structures that were made to harm, by name, and what is said of each."""

import bz2
import gzip
from collections.abc import Mapping

HEADER = 'Properties=species:S:1:pos:R:3 energy=-1.0 pbc="F F F"'
WATER = "O 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n"


def frame(first: str = "O 0 0 0", header: str = HEADER, count: object = 3) -> str:
    """Water with something else in it."""
    return f"{count}\n{header}\n{first}\nH 0.76 0.59 0\nH -0.76 0.59 0\n"


def periodic(cell: str, pbc: str = "T T T") -> str:
    """Water in a cell."""
    return frame(header=f'Lattice="{cell}" {HEADER.replace("F F F", pbc)}')


def columns(what: str) -> str:
    """Water with other columns."""
    return frame(header=f"Properties=species:S:1:pos:R:3:{what} energy=-1.0")


def crowd(count: int) -> str:
    """Atoms that are all neighbors of each other."""
    lines = "".join(
        f"H {k % 40 * 0.02} {k // 40 % 40 * 0.02} {k // 1600 * 0.02}\n" for k in range(count)
    )
    return f"{count}\n{HEADER}\n{lines}"


FILES: Mapping[str, tuple[bytes | str, str]] = {
    "far-1e6.xyz": (frame("O 1000000 0 0"), "no coordinate may be beyond"),
    "far-1e300.xyz": (frame("O 0 1e300 0"), "no coordinate may be beyond"),
    "far-line.xyz": (frame("O 99999 0 0") + frame("O 0 -1e7 0"), "no coordinate may be beyond"),
    "far-for-a-small-cutoff.xyz": (frame("O 99999 99999 0"), ""),
    "nan.xyz": (frame("O nan 0 0"), "not finite numbers"),
    "inf.xyz": (frame("O inf 0 0"), "not finite numbers"),
    "overlap.xyz": (frame("H 0.76 0.59 0"), "coincide"),
    "crowd.xyz": (crowd(20_000), "neighbor pairs within the cutoff"),
    "cell-tiny.xyz": (periodic("1e-6 0 0 0 1e-6 0 0 0 1e-6"), "thick"),
    "cell-tiny-along-one.xyz": (periodic("1e-6 0 0 0 9 0 0 0 9", "T F F"), "thick"),
    "cell-thin.xyz": (periodic("9 0 0 9 1e-7 0 0 0 9"), "thick"),
    "cell-small.xyz": (periodic("2e-3 0 0 0 2e-3 0 0 0 2e-3"), "neighbor pairs within"),
    "cell-small-along-one.xyz": (periodic("2e-3 0 0 0 9 0 0 0 9", "T F F"), ""),
    "cell-small-along-two.xyz": (
        periodic("2e-3 0 0 0 2e-3 0 0 0 9", "T T F"),
        "neighbor pairs within",
    ),
    "cell-singular.xyz": (periodic("1 0 0 0 1 0 1 1 0"), "does not span"),
    "cell-huge.xyz": (periodic("1e300 0 0 0 1e300 0 0 0 1e300"), "none may be beyond"),
    "cell-nan.xyz": (periodic("nan 0 0 0 9 0 0 0 9"), "not finite numbers"),
    "count-1e9.xyz": (frame(count=10**9), "is to have 1000000000 atoms"),
    "count-1e18.xyz": (frame(count=10**18), "is to have"),
    "count-digits.xyz": (frame(count="9" * 6000), "cannot be read"),
    "count-negative.xyz": (frame(count=-3), "cannot be read"),
    "count-second.xyz": (frame() + frame(count=10**9), "is to have 1000000000 atoms"),
    "columns-1e9.xyz": (columns("x:R:1000000000"), "'Properties' names 1000000004 columns"),
    "columns-1e30.xyz": (columns("x:R:1" + "0" * 30), "columns"),
    "columns-many.xyz": (columns(":".join(f"x{k}:R:1" for k in range(50_000))), "columns"),
    "columns-negative.xyz": (columns("x:R:-3"), "cannot be read"),
    "properties-many.xyz": (
        columns(":".join(f"x{k}:R:1" for k in range(1_000_000))),
        "line 2 is longer than",
    ),
    "line.xyz": (frame("O " + " " * 5_000_000 + "0 0 0"), "line 3 is longer than"),
    "one-line.xyz": ("1" * 20_000_000, "line 1 is longer than"),
    "json-deep.xyz": (frame(header=f'{HEADER} x="_JSON {"[" * 50000}{"]" * 50000}"'), "cannot be"),
    "empty.xyz": ("", "the file is empty"),
    "newlines.xyz": ("\n" * 100_000, "holds no structures"),
    "binary.xyz": (bytes(range(256)) * 1000, "cannot be read"),
    "pickle.xyz": (b"\x80\x04cos\nsystem\n(S'touch executed'\ntR.", "is not loaded"),
    "bomb.xyz.gz": (gzip.compress(b"\n" * 300_000_000, 6), "unpacks to more than"),
    "bomb.xyz.bz2": (bz2.compress(b"3\n" + b" " * 300_000_000), "is longer than"),
    "bomb.cif.gz": (gzip.compress(b"#" * 300_000_000, 6), "unpacks to more than"),
    "cut.xyz.gz": (gzip.compress(frame().encode() * 100)[:-20], "cannot be read"),
    "symbol.xyz": (frame("\x1b]0;x\x07 0 0 0"), "cannot be read"),
    "type.xyz": (frame("X 0 0 0"), "is no element"),
}
