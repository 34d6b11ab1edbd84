"""Old checkpoint in, checkpoint of the installed versions out: ``old.ckpt`` -> ``new.ckpt``.

Format, architecture and options have versions of their own, each with upgrades of one step.
"""

from dataclasses import replace
from pathlib import Path

from mtt.checkpoint.header import FORMAT_VERSION, Header, UpgradedFrom
from mtt.checkpoint.reading import read, read_header
from mtt.checkpoint.writing import write
from mtt.files import check_keeps


def run(checkpoint: Path, output: Path) -> str:
    """Write ``checkpoint`` in the newest versions to ``output``, and return what was done.

    A file that is current already is copied, so that scripts need not know.

    :raises UserError: as :func:`mtt.checkpoint.reading.read`; or the output cannot be written or
        is the input
    """
    check_keeps([checkpoint], output)
    old = read_header(checkpoint)
    header, tensors = read(checkpoint)
    before, after = versions(old), versions(header) | {"format": FORMAT_VERSION}
    if before != after:
        header = replace(header, upgraded_from=UpgradedFrom(old.content_hash, before))
    write(output, header, tensors)
    steps = [
        f"{name} {before[name]} -> {after[name]}" for name in before if before[name] != after[name]
    ]
    if not steps:
        return f"{checkpoint} is of the newest versions already; copied to {output}"
    return f"wrote {output}: {', '.join(steps)}"


def versions(header: Header) -> dict[str, int | None]:
    """Return the three version numbers of a checkpoint, by what they are of."""
    options = header.options.get("version")
    return {
        "format": header.format_version,
        header.architecture.name: header.architecture.version,
        "options": options if type(options) is int else None,
    }
