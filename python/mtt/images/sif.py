"""OCI layout in, ``.sif`` out: the one file that Apptainer runs on a cluster."""

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from mtt.images import layout, own_place, tools, trusted

# The image's digest is what tells a checkpoint which image wrote it.
_DEFINITION = """\
Bootstrap: oci
From: {layout}

%environment
    export MTT_IMAGE_DIGEST={digest}
"""
# Apptainer's own script for such images evaluates the words again: '$' in a name would count. Without a
# shell inside there is only that one.
_SCRIPT = """
%runscript
    exec {program} "$@"
"""
# Packed and unpacked several times as quickly as by default, which every start gains from.
_COMPRESSION = "--mksquashfs-args=-comp zstd -Xcompression-level 6"


def program() -> str:
    """Apptainer, or Singularity where that is its name.

    :raises UserError: neither is installed
    """
    programs = [name for name in ("apptainer", "singularity") if shutil.which(name)]
    if not programs:
        tools.need("apptainer")
    return programs[0]


def make(content: layout.Layout, target: Path) -> None:
    """Write ``target``, and its hash into this user's record; the file appears when it is whole.

    :raises UserError: Apptainer is missing or fails, or the record cannot be written
    """
    builder = program()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as place:
        definition, made = Path(place) / "image.def", Path(place) / "image.sif"
        text = _DEFINITION.format(layout=content.path, digest=content.digest)
        if content.entrypoint and content.has_shell():
            text += _SCRIPT.format(program=shlex.join(content.entrypoint))
        definition.write_text(text)
        command: list[str | Path] = [builder, "build", "--force", _COMPRESSION, made, definition]
        tools.run(command, f"making {target.name}", target.parent)
        made.chmod(0o755)
        # Before it has a name under which others could find it.
        trusted.add(own_place.sha256_once(made), content.digest)
        os.replace(made, target)
