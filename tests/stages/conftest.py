"""A run that was really made, once for all tests that follow its files around."""

from pathlib import Path

import pytest
from command import mtt
from small_runs import make_options


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``mtt train`` has made ``model.ckpt`` and ``model.pt``, verified in full.

    ``options.yaml`` names the data by a relative path. Nobody may change what is in there.
    """
    folder = tmp_path_factory.mktemp("trained")
    make_options(folder, training={"num_epochs": 2})
    options = folder / "options.yaml"
    options.write_text(options.read_text().replace(f"{folder}/", ""))
    mtt(folder, "train", "options.yaml")
    return folder
