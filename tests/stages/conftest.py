"""A run that was really made, once for all tests that follow its files around."""

from pathlib import Path

import pytest
from small_runs import make_options

from mtt.options import load_options
from mtt.stages import train, verify


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which training has made ``model.ckpt`` and ``model.pt``.

    ``options.yaml`` names the data by a relative path. Nobody may change what is in there. The model
    is verified in one family: all of them take longest, and have tests of their own.
    """
    folder = tmp_path_factory.mktemp("trained")
    make_options(folder, training={"num_epochs": 2})
    options = folder / "options.yaml"
    options.write_text(options.read_text().replace(f"{folder}/", ""))
    real = verify.run

    def one_family(path: Path, only: object = None, **others: object) -> object:
        return real(path, only=["LOAD"], **others)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(verify, "run", one_family)
        train.run(load_options(Path("options.yaml")))
    return folder
