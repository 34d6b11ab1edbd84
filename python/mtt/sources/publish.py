"""Checkpoint in, page of the hub out: the files, their verification, and a card that says what they are.

Everything is made and verified here before the hub hears of it, and arrives there as one commit.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mtt.errors import UserError, VerificationFailed
from mtt.files import sha256_of
from mtt.inspect import describe
from mtt.inspect.show import size
from mtt.sources import model_card
from mtt.tokens import redacted
from mtt.verify import run as verification
from mtt.verify.report import Report, html, terminal

_REPORT: Final = "verification"


@dataclass(frozen=True)
class Package:
    """What is to be uploaded: files by their names there, and the texts that are made for it."""

    repository: str
    files: dict[str, Path]
    texts: dict[str, bytes]

    def summary(self) -> str:
        """Names and sizes, for people."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        sizes |= {name: len(content) for name, content in self.texts.items()}
        width = max(map(len, sizes))
        return "\n".join(f"  {name:<{width}}  {size(count)}" for name, count in sizes.items())


@contextlib.contextmanager
def packed(
    checkpoint: Path,
    repository: str,
    model: Path | None = None,
    metadata: Path | None = None,
    level: str = "full",
) -> Iterator[Package]:
    """Everything to be uploaded; what had to be made for it is gone after the block.

    :param model: export of the checkpoint; default: what lies beside it, else a new export
    :param metadata: for a new export
    :param level: how thorough the verification is
    :raises UserError: the files are not what they should be, or not of each other
    :raises VerificationFailed: a check of the model failed
    """
    described = describe.describe(checkpoint)
    _check_checkpoint(checkpoint, described)
    with tempfile.TemporaryDirectory(prefix="mtt-push-") as folder:
        model_file = model or _beside(checkpoint)
        if model_file is not None and metadata is not None:
            raise UserError(
                "metadata can only be given to a new export, and there is one already",
                where=str(model_file),
                hint=f"export with it: mtt export {checkpoint} -m {metadata} -o {model_file}",
            )
        if model_file is None:
            from mtt.export import run as export

            model_file = Path(folder) / f"{checkpoint.stem}.pt"
            print(f"exporting {checkpoint}")
            export.run(checkpoint, model_file, metadata=metadata)
        about = describe.describe(model_file)
        _check_model(model_file, about, described, checkpoint)
        report = _verified(model_file, level)
        files = {checkpoint.name: checkpoint, model_file.name: model_file}
        named = [(name, path.stat().st_size, sha256_of(path)) for name, path in files.items()]
        texts = {
            f"{_REPORT}.json": report.text.encode(),
            f"{_REPORT}.html": html.page([(model_file.name, report)]),
            "README.md": redacted(
                model_card.card(repository, described, about, report, named)
            ).encode(),
        }
        yield Package(repository, files, texts)


def _beside(checkpoint: Path) -> Path | None:
    path = checkpoint.with_suffix(".pt")
    return path if path.is_file() else None


def _check_checkpoint(path: Path, described: dict[str, Any]) -> None:
    if described["kind"] != "checkpoint":
        raise UserError(
            "this is a model file; push its checkpoint, and the model goes along",
            where=str(path),
            hint=f"mtt push CKPT ORG/REPO --model {path}",
        )
    if not described["content"]["fits"]:
        from mtt.checkpoint.formats import changed

        raise changed(path)


def _check_model(path: Path, about: dict[str, Any], checkpoint: dict[str, Any], of: Path) -> None:
    if about["kind"] != "model":
        raise UserError("this is a checkpoint, not an exported model", where=str(path))
    provenance = about.get("provenance")
    origin = provenance.get("checkpoint") if isinstance(provenance, dict) else None
    digest = origin.get("content_hash") if isinstance(origin, dict) else None
    if digest != checkpoint["content"]["hash"]:
        raise UserError(
            f"this model was not exported from {of}",
            where=str(path),
            hint="export it anew, or name the right one with --model",
        )


def _verified(path: Path, level: str) -> Report:
    """The report of the checks, without the folder that the file is in here."""
    with terminal.Progress() as progress:
        report = verification.verify(path, level=level, on_check=progress.show)
    terminal.print_line(report, path.name)
    if not report.passed:
        raise VerificationFailed(report.failure(path.name))
    report_dict = json.loads(report.text)
    report_dict["file"]["path"] = path.name
    if report.waivers_file is not None:
        report_dict["waivers_file"] = Path(report.waivers_file).name
    return replace(Report.of(report_dict), path=path.name)
