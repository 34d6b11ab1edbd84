"""Files to a repository of the Hugging Face hub, as one commit, by huggingface_hub."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import huggingface_hub
from huggingface_hub import CommitOperationAdd, constants, errors
from huggingface_hub.utils import _http as hub_http

from mtt.errors import UserError
from mtt.files import LARGEST_TEXT, read_regular
from mtt.sources import hub
from mtt.sources.fetch_settings import Settings
from mtt.sources.source import hub_endpoint
from mtt.sources.web import check_scheme

CARD: Final = "README.md"
_SLOWER: Final = 10


def push(
    repository: str,
    contents: Mapping[str, Path | bytes],
    message: str,
    settings: Settings,
    private: bool = False,
    card_mark: str = "",
) -> tuple[str, list[str]]:
    """Upload, and return the address of the commit and the names of the files in it.

    The repository and the branch (``settings.revision``) are made if they are not there. A card that
    lacks ``card_mark`` is somebody's own, and stays.

    :raises UserError: with what the hub objects to
    """
    check_scheme(hub_endpoint() + "/", settings)
    revision = settings.revision or constants.DEFAULT_REVISION
    api = huggingface_hub.HfApi(
        endpoint=hub_endpoint(), token=settings.token.value if settings.token else None
    )
    with _spoken(repository, settings), _impatient(settings):
        api.create_repo(repository, private=private or None, exist_ok=True)
        if revision != constants.DEFAULT_REVISION:
            api.create_branch(repository, branch=revision, exist_ok=True)
        kept = _has_own_card(api, repository, revision, card_mark)
        operations = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
            for name, content in contents.items()
            if not (kept and name == CARD)
        ]
        commit = api.create_commit(
            repository, operations, commit_message=message, revision=revision
        )
    return commit.commit_url, [operation.path_in_repo for operation in operations]


def _has_own_card(api: huggingface_hub.HfApi, repository: str, revision: str, mark: str) -> bool:
    try:
        path = api.hf_hub_download(repository, CARD, revision=revision)
    except errors.EntryNotFoundError:
        return False
    return mark not in read_regular(Path(path), LARGEST_TEXT).decode(errors="replace")


@contextlib.contextmanager
def _impatient(settings: Settings) -> Iterator[None]:
    """The library would wait for ever; a hub that takes in a large commit may be slow to answer."""
    library: Any = hub_http

    def client() -> Any:
        made = library.default_client_factory()
        made.timeout = (
            settings.timeout,
            _SLOWER * settings.timeout,
            _SLOWER * settings.timeout,
            None,
        )
        return made

    huggingface_hub.set_client_factory(client)
    try:
        yield
    finally:
        huggingface_hub.set_client_factory(library.default_client_factory)


@contextlib.contextmanager
def _spoken(repository: str, settings: Settings) -> Iterator[None]:
    revision = settings.revision or constants.DEFAULT_REVISION
    asked = hub.Asked(repository, repository, revision, settings)
    try:
        with hub.spoken(asked), hub.quiet():
            yield
    except (ValueError, RuntimeError) as error:  # what the library makes of strange answers
        cause = error.__cause__
        if isinstance(cause, Exception):
            with hub.spoken(asked):
                raise cause from None
        raise UserError(
            "the hub's answer to the upload was not understood", where=hub_endpoint()
        ) from None
