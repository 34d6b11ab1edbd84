"""What a verification is asked for, and where its report goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEVELS = ("quick", "full", "soak")
ENGINES = ("all", "lammps", "ase", "ipi", "torch-sim", "gromacs", "plumed", "eon")


@dataclass(frozen=True)
class Settings:
    """What is checked, and under which limits; None leaves a limit to the program.

    ``skip`` has a reason, which the report records, for each ``FAMILY`` or ``FAMILY/name``.
    """

    only: Sequence[str] | None = None
    skip: Sequence[str] | Mapping[str, str] | None = None
    level: str = "full"
    engine: str = "all"
    extensions: Path | None = None
    record: Path | None = None
    against: Path | None = None
    time_limit: int | None = None
    memory_limit: int | None = None
    isolation: bool = True

    def arguments(self) -> list[str]:
        """Those of the program."""
        words = [] if self.level == "full" else ["--level", self.level]
        if self.engine != "all":
            words += ["--engine", self.engine]
        if self.only:
            words += ["--only", ",".join(self.only)]
        if self.skip:
            waived = self.skip.items() if isinstance(self.skip, Mapping) else _halves(self.skip)
            joined = ",".join(f"{check}={reason}" if reason else check for check, reason in waived)
            words += ["--skip", joined]
        named = {
            "--extensions": self.extensions,
            "--record": self.record,
            "--against": self.against,
            "--time-limit": self.time_limit,
            "--memory-limit": self.memory_limit,
        }
        for flag, value in named.items():
            if value is not None:
                words += [flag, str(value)]
        return words if self.isolation else [*words, "--no-isolation"]


@dataclass(frozen=True)
class Outputs:
    """Files to write the report to, besides the table on the terminal; ``json`` may be ``-``."""

    json: Path | None = None
    junit: Path | None = None
    sarif: Path | None = None
    html: Path | None = None
    annotations: str | None = None

    def paths(self) -> list[Path]:
        """The files that will be written."""
        named = (self.json, self.junit, self.sarif, self.html)
        return [path for path in named if path is not None and path != Path("-")]


def _halves(words: Sequence[str]) -> list[tuple[str, str]]:
    return [(check, reason) for check, _, reason in (word.partition("=") for word in words)]
