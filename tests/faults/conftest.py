"""Runs ``mtt-verify`` on every export that the collected tests need."""

import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# torch announces the end of TorchScript wherever it is used, also while metatensor is imported.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".torch.jit", category=DeprecationWarning)
    from corpus import load_corpus
    from harness import SOUND, export_sound
    from run_verifier import find_program, run_verify


@pytest.fixture(scope="session")
def verdict(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """``verdict(name)``: the report on that fault or sound model.

    Exports are made one after the other, since TorchScript compiles in this process; the program
    runs on the ready ones meanwhile.
    """
    program = find_program()
    folder = tmp_path_factory.mktemp("exports")
    corpus = load_corpus()
    needed = [
        value
        for item in request.session.items
        for value in getattr(getattr(item, "callspec", None), "params", {}).values()
        if isinstance(value, str)
    ]
    needed = [name for name in dict.fromkeys(needed) if name in SOUND or name in corpus]
    pool = ThreadPoolExecutor(max_workers=2)
    reports: dict[str, Future[dict[str, Any]]] = {}
    for name in needed:
        path = folder / f"{name.replace(' ', '-')}.pt"
        if name in SOUND:
            export_sound(name, path)
            arguments: list[str] = []
        else:
            corpus[name].build(path)
            arguments = ["--only", corpus[name].only, *corpus[name].arguments]
        reports[name] = pool.submit(run_verify, program, path, arguments)
    request.addfinalizer(lambda: pool.shutdown(cancel_futures=True))
    return lambda name: reports[name].result()
