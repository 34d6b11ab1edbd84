"""Numbers of a model file, from the process that ``mtt-verify`` keeps it in: no model of others runs here."""

import json
import os
import subprocess
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtt.verify.program import environment, program


class ModelFailed(Exception):
    """The model, or its process, gave no answer; the message says why."""


class Exceptions(NamedTuple):
    """What somebody allows a model beyond what any model may do.

    - ``operators``: names of operators outside the list of pure ones, as ``LOAD/operators`` spells them;
    - ``no_sandbox``: whether it may run where the system offers no sandbox.
    """

    operators: tuple[str, ...] = ()
    no_sandbox: bool = False

    def options(self) -> list[str]:
        """Return them as options of ``mtt-verify``."""
        named = [word for name in self.operators for word in ("--allow-operator", name)]
        return [*named, "--no-require-sandbox"] if self.no_sandbox else named


NO_EXCEPTIONS = Exceptions()


class Wanted(NamedTuple):
    """An output to ask for: rows per ``system`` or ``atom``, with or without derivatives."""

    name: str
    per: str
    gradients: bool = False


class System(NamedTuple):
    """Types (N,) int32, positions (N, 3) and cell (3, 3) float64 in the model's length unit, pbc (3,).

    Models that ask for them see the total charge, in elementary charges, and the spin multiplicity.
    """

    types: NDArray[np.int32]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    charge: float = 0.0
    spin_multiplicity: float = 1.0


class Prediction(NamedTuple):
    """What a model gives for one output: rows of numbers in float64, of S systems with N atoms in all.

    - ``rows`` [S or N, P], NaN where the model leaves one out;
    - ``forces`` [N, 3] = -dE/dx and ``strain`` [S, 3, 3] = dE/deps; None if they were not asked for.
    """

    rows: NDArray[np.float64]
    forces: NDArray[np.float64] | None
    strain: NDArray[np.float64] | None


class ModelProcess:
    """A model file in a sandbox, which answers one question after the other.

    - ``about``: what the model declares: ``outputs`` (name, unit, sample_kind, description),
      ``atomic_types``, ``length_unit``, ``dtype``, ``requested_inputs`` (their names), and the
      ``isolation`` in force.

    :param extensions: folder of the compiled extensions that it needs
    :param exceptions: what it may do beyond what any model may
    :param widened: turn all its floating-point numbers into float64, which not every code allows
    :raises ModelFailed: it cannot be loaded
    """

    def __init__(
        self,
        path: Path,
        extensions: Path | None = None,
        widened: bool = False,
        exceptions: Exceptions = NO_EXCEPTIONS,
    ) -> None:
        command = [str(program()), "--predict", str(path), *exceptions.options()]
        if widened:
            command.append("--widened")
        if extensions is not None:
            command += ["--extensions", str(extensions)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        self.close = weakref.finalize(self, _stop, self._process)
        self._turn = threading.Lock()
        self._loaded_in = os.getpid()
        self.about, _ = self._answer()

    def predict(self, systems: Sequence[System], wanted: Sequence[Wanted]) -> list[Prediction]:
        """Return the prediction of each wanted output, all systems in one call of the model.

        :raises ModelFailed: the model cannot do it
        """
        header = {
            "systems": [
                {
                    "atoms": len(system.types),
                    "pbc": [bool(flag) for flag in system.pbc],
                    "charge": system.charge,
                    "spin_multiplicity": system.spin_multiplicity,
                }
                for system in systems
            ],
            "outputs": [output._asdict() for output in wanted],
        }
        arrays = [
            np.ascontiguousarray(array, dtype).tobytes()
            for system in systems
            for array, dtype in (
                (system.types, np.int32),
                (system.positions, np.float64),
                (system.cell, np.float64),
            )
        ]
        answer, content = self._exchange(header, b"".join(arrays))
        numbers = np.frombuffer(content, np.float64)
        atoms = sum(len(system.types) for system in systems)
        predictions: list[Prediction] = []
        for output, item in zip(wanted, answer["outputs"], strict=True):
            count = atoms if output.per == "atom" else len(systems)
            rows, numbers = _split(numbers, (count, item["columns"]))
            forces = strain = None
            if output.gradients:
                forces, numbers = _split(numbers, (atoms, 3))
                strain, numbers = _split(numbers, (len(systems), 3, 3))
            predictions.append(Prediction(rows, forces, strain))
        return predictions

    def _exchange(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer to this question, whoever else asks: no one may read that of another."""
        if os.getpid() != self._loaded_in:
            raise ModelFailed("it was loaded in another process: load it in each process anew")
        with self._turn:
            if not self.close.alive:
                raise ModelFailed("a call was interrupted, and its process ended: load it anew")
            try:
                self._ask(header, content)
                return self._answer()
            except ModelFailed:
                raise
            except BaseException:
                # Its answer would come to the next question.
                self.close()
                raise

    def _ask(self, header: dict[str, Any], content: bytes) -> None:
        assert self._process.stdin is not None
        document = json.dumps(header).encode()
        size = 8 + len(document) + len(content)
        try:
            self._process.stdin.write(size.to_bytes(8, "little"))
            self._process.stdin.write(len(document).to_bytes(8, "little"))
            self._process.stdin.write(document)
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except BrokenPipeError:
            # Its last answer says why it has gone.
            pass

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        content = self._read(int.from_bytes(self._read(8), "little"))
        length = int.from_bytes(content[:8], "little")
        document: dict[str, Any] = json.loads(content[8 : 8 + length])
        if "error" in document:
            raise ModelFailed(document["error"])
        return document, content[8 + length :]

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(size)
        if len(content) < size:
            self._process.wait()
            raise ModelFailed(f"mtt-verify ended with exit code {self._process.returncode}")
        return content


def _split(
    numbers: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = int(np.prod(shape))
    return numbers[:size].reshape(shape), numbers[size:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the program; at the end of its input it ends the process of the model by itself."""
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            pass
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
