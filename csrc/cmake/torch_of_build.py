"""Adds to the dependencies of a wheel the minor version of torch that its compiled parts are for.

The interface of libtorch changes between minor versions, so a wheel that was built beside torch 2.13 needs
torch 2.13. scikit-build-core calls this; an sdist holds nothing compiled and keeps the whole range.
"""

import importlib.metadata
from collections.abc import Mapping
from typing import Any


class Provider:
    """What scikit-build-core asks for the metadata of mtt."""

    state = ""

    def build_state(self, state: str) -> None:
        """Take what is being built."""
        self.state = state

    def dynamic_metadata(self, settings: Mapping[str, Any], project: Any) -> dict[str, list[str]]:
        """Return what to add to the fields of ``[project]``."""
        if self.state == "sdist":
            return {}
        minor = ".".join(importlib.metadata.version("torch").split(".")[:2])
        return {"dependencies": [f"torch=={minor}.*"]}
