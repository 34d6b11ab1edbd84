"""Whether the installed architectures can take up a checkpoint."""

from pathlib import Path

from mtt import architecture_registry
from mtt.checkpoint.formats import package_for, who_can_read
from mtt.checkpoint.header import Header
from mtt.errors import UserError


def check_architecture(
    header: Header, path: Path | None = None
) -> architecture_registry.Architecture:
    """Return the installed architecture that can take up a checkpoint.

    :raises UserError: if it is unknown, or there is no exact upgrade from the checkpoint's version
    """
    name, version = header.architecture.name, header.architecture.version
    where = None if path is None else str(path)
    if name not in architecture_registry.names():
        package = f"{package_for(header)}, which" if header.plugin else "the package that"
        raise UserError(
            f"the checkpoint is of the architecture '{name}', which is not installed",
            where=where,
            hint=f"install {package} provides it; known here: "
            + ", ".join(architecture_registry.names()),
        )
    architecture = architecture_registry.get(name)
    if version > architecture.version:
        why: str | None = f"update {header.plugin or 'mtt'}"
    else:
        why = architecture.why_not_upgraded(version, header.architecture.hypers)
    if why is None:
        return architecture
    raise UserError(
        f"the checkpoint needs version {version} of the architecture '{name}', but version "
        f"{architecture.version} is installed",
        where=where,
        hint=f"{why}: use {who_can_read(header)}",
    )
