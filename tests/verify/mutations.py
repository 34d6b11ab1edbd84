"""Damaged and forged copies of a model file, each made from a seed.

``python tests/verify/mutations.py MODEL.pt [COUNT]`` gives COUNT of them (1,000) to ``mtt-verify`` and
says how it ended: every one must get a verdict in bounded time.
"""

import collections
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

Random = random.Random
LIMITS = ["--time-limit", "20", "--memory-limit", "2000"]
SECONDS = 240  # a file that hangs takes ten time limits at most
CODES = {0: "pass", 3: "fail"}
# Numbers at which sizes, counts and offsets go wrong.
EDGES = [0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF]


def truncate(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip_bits(content: bytes, rng: Random) -> bytes:
    out = bytearray(content)
    for _ in range(rng.choice([1, 3, 30, 300])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(content: bytes, rng: Random) -> bytes:
    at, size = rng.randrange(len(content)), rng.choice([4, 64, 1000])
    block = rng.choice([bytes(size), rng.randbytes(size), b"\xff" * size])
    return content[:at] + block + content[at + size :]


def exchange(content: bytes, rng: Random) -> bytes:
    """Pieces of the file in another order, or one twice."""
    cuts = sorted(rng.randrange(len(content)) for _ in range(3))
    a, b, c, d = (
        content[: cuts[0]],
        content[cuts[0] : cuts[1]],
        content[cuts[1] : cuts[2]],
        content[cuts[2] :],
    )
    return rng.choice([a + c + b + d, a + b + b + c + d, a + d])


def zip_fields(content: bytes, rng: Random) -> bytes:
    """Wrong numbers in the headers of the archive."""
    out = bytearray(content)
    marks = [
        m.start()
        for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", content)
    ]
    for _ in range(rng.choice([1, 1, 4])):
        at = rng.choice(marks) + rng.randrange(4, 46)
        size = rng.choice([2, 4, 8])
        out[at : at + size] = (rng.choice(EDGES) % 256**size).to_bytes(size, "little")
    return bytes(out[: len(content)])


def records(content: bytes, edit: Callable[[dict[str, bytes]], None], method: int = 0) -> bytes:
    """A sound archive with other records: checksums fit, so the contents are believed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    edit(held)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, value in held.items():
            archive.writestr(zipfile.ZipInfo(name), value, method)
    return out.getvalue()


def some(held: dict[str, bytes], rng: Random, pattern: str) -> str:
    return rng.choice([name for name in held if re.search(pattern, name)])


def edit_code(content: bytes, rng: Random) -> bytes:
    """TorchScript with lines left out, doubled or exchanged, other numbers and other names."""

    def edit(held: dict[str, bytes]) -> None:
        name = some(held, rng, r"code/.*\.py$")
        lines = held[name].decode().split("\n")
        for _ in range(rng.choice([1, 1, 3])):
            at = rng.randrange(len(lines))
            other = rng.choice(lines)
            number = str(rng.choice([-1, 0, 1, 2**31, 2**63 - 1]))
            lines[at] = rng.choice(
                ["", other, re.sub(r"\d+", number, lines[at]), lines[at][:-1], lines[at] * 2]
                + [
                    re.sub(
                        r"\b\w+\b", rng.choice(["self", "None", "x", "torch"]), lines[at], count=1
                    )
                ]
            )
        held[name] = "\n".join(lines).encode()

    return records(content, edit)


def edit_pickle(content: bytes, rng: Random) -> bytes:
    def edit(held: dict[str, bytes]) -> None:
        name = some(held, rng, r"\.pkl$")
        change = rng.choice([flip_bits, truncate, overwrite, exchange])
        held[name] = change(held[name], rng) if len(held[name]) > 3 else rng.randbytes(100)

    return records(content, edit)


def edit_tensors(content: bytes, rng: Random) -> bytes:
    """NaN, infinity, noise, or too few bytes in a tensor."""

    def edit(held: dict[str, bytes]) -> None:
        name = some(held, rng, r"(data|constants)/\d+$")
        size = len(held[name])
        values = [b"\xff" * size, b"\x00" * size, rng.randbytes(size), held[name][: size // 2], b""]
        held[name] = rng.choice([*values, (b"\x00" * 6 + b"\xf0\x7f") * (size // 8 + 1)])

    return records(content, edit)


def edit_extra(content: bytes, rng: Random) -> bytes:
    """Records that are not libtorch's: versions, metadata, extensions, golden pack."""

    def edit(held: dict[str, bytes]) -> None:
        name = some(held, rng, r"/(extra/.*|version|byteorder|\.data/.*)$")
        texts = [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"[" * 10000,
            b"\xff\xfe",
            b"9" * 400,
            b'[{"name": 1}]',
        ]
        texts += [b'[{"name": "libm.so.6", "path": "/lib/x86_64-linux-gnu/libm.so.6"}]', b"../../x"]
        held[name] = rng.choice([*texts, flip_bits(held[name] or b"x", rng)])

    return records(content, edit)


def edit_names(content: bytes, rng: Random) -> bytes:
    """Records left out, called otherwise, or compressed."""

    def edit(held: dict[str, bytes]) -> None:
        for _ in range(rng.choice([1, 3])):
            name = rng.choice(list(held))
            value = held.pop(name)
            kind = rng.randrange(4)
            if kind == 1:
                held[name + rng.choice(["x", "/", "\u00e9", "/../../../x", "a" * 60000])] = value
            elif kind == 2:
                held[rng.choice(["/", "x/../", ""]) + name] = value
            elif kind == 3:
                held[name] = value

    return records(content, edit, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


KINDS = [truncate, flip_bits, overwrite, exchange, zip_fields, edit_code, edit_pickle, edit_tensors]
KINDS += [edit_extra, edit_names, edit_code, edit_pickle, zip_fields]


def mutate(content: bytes, seed: int) -> tuple[str, bytes]:
    """Kind and content of one mutated file."""
    rng = Random(seed)
    kind = KINDS[seed % len(KINDS)]
    return kind.__name__, kind(content, rng)


@dataclass(frozen=True)
class Ended:
    """How the program ended on one file; ``problem`` is empty when that is fine."""

    seed: int
    kind: str
    code: int
    seconds: float
    failures: list[str]
    problem: str


def judge(program: Path, content: bytes, seed: int, folder: Path, only: str) -> Ended:
    """Run the program on the mutated file of this seed."""
    kind, mutated = mutate(content, seed)
    path = folder / f"{seed}.pt"
    path.write_bytes(mutated)
    command = [str(program), str(path), "--json", "-", "--quiet", "--threads", "1", *LIMITS]
    start = time.monotonic()
    try:
        done = subprocess.run([*command, "--only", only], capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Ended(seed, kind, -99, SECONDS, [], "it hangs")
    finally:
        path.unlink()
    seconds, code = time.monotonic() - start, done.returncode
    problem, failures = "", []
    if code not in CODES:
        problem = f"exit code {code}: {done.stderr.decode(errors='replace')[-300:]}"
    else:
        try:
            report = json.loads(done.stdout)
            failed = [c for c in report["checks"] if c["status"] == "fail"]
            failures = [f"{c['family']}/{c['name']}: {c['message']}" for c in failed]
            if report["verdict"] != CODES[code] or bool(failures) != (code == 3):
                problem = "the verdict is not that of the exit code"
        except (ValueError, KeyError) as error:
            problem = f"no report: {error}"
    return Ended(seed, kind, code, seconds, failures, problem)


def main() -> int:
    from mtt.verify import run as verify

    content, count = Path(sys.argv[1]).read_bytes(), int((sys.argv[2:] or ["1000"])[0])
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        run = [
            pool.submit(judge, verify.program(), content, seed, Path(folder), "LOAD,SCHEMA,GEO")
            for seed in range(count)
        ]
        ended = [item.result() for item in run]
    print("kind", "pass", "fail", "died", "slowest", sep="\t")
    for kind in dict.fromkeys(e.kind for e in ended):
        mine = [e for e in ended if e.kind == kind]
        codes = collections.Counter(e.code for e in mine)
        died = [e for e in mine if any("process" in f or "memory limit" in f for f in e.failures)]
        slowest = max(e.seconds for e in mine)
        print(kind, codes[0], codes[3], len(died), f"{slowest:.1f} s", sep="\t")
        for item in died:
            print("   ", item.seed, item.failures[0][:200])
    for item in ended:
        if item.problem:
            print("PROBLEM", item.seed, item.kind, item.problem)
    return int(any(e.problem for e in ended))


if __name__ == "__main__":
    sys.exit(main())
