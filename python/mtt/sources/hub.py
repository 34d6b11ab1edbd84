"""Files of the Hugging Face hub, by huggingface_hub: its cache, its variables, its stored token.

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they always mean. What the library raises
is put into words here; its own messages are long, and may hold signed addresses.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub import utils as hub_utils

from mtt.errors import UserError
from mtt.sources.fetch_settings import Settings
from mtt.sources.source import HubFile, hub_endpoint
from mtt.sources.web import check_scheme, too_large
from mtt.tokens import Token

# What breaks off resumes from the last whole chunk, and models are smaller than the usual 10 MB.
_CHUNK: Final = 2**16

_library: Any = hub_utils  # its names are made when they are asked for
# Which library it speaks HTTP with changes with its versions.
_http: Any = _library.httpx


def download(source: HubFile, settings: Settings) -> tuple[Path, str]:
    """The file in the library's cache, and the commit that it is of.

    :raises UserError: with what failed
    """
    revision = _revision(source, settings)
    offline = settings.offline or constants.HF_HUB_OFFLINE
    if not offline:
        check_scheme(hub_endpoint() + "/", settings)
    with spoken(Asked(source.shown, source.repository, revision, settings)), quiet():
        if not offline:
            _look(source, settings, revision)
        constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
        constants.HF_HUB_DOWNLOAD_TIMEOUT = max(1, round(settings.timeout))
        path = huggingface_hub.hf_hub_download(
            source.repository,
            source.file,
            repo_type=source.kind,
            revision=revision,
            token=settings.token.value if settings.token else None,
            endpoint=hub_endpoint(),
            etag_timeout=settings.timeout,
            local_files_only=offline,
            tqdm_class=_limited(source, settings.max_size),
        )
    parts = Path(path).parts
    # .../snapshots/COMMIT/FILE, and FILE may be in folders
    return Path(path), parts[-len(source.file.split("/")) - 1]


def record(source: HubFile, commit: str) -> dict[str, Any]:
    """Where the file is from, to be written down: no secrets, and the commit beside its name."""
    return {
        "hub": hub_endpoint(),
        "repository": source.repository,
        "kind": source.kind,
        "file": source.file,
        "revision": source.revision or constants.DEFAULT_REVISION,
        "commit": commit,
    }


def _revision(source: HubFile, settings: Settings) -> str:
    if source.revision and settings.revision and source.revision != settings.revision:
        raise UserError(
            f"two revisions are given: '{source.revision}' in the address, and --revision "
            f"{settings.revision}",
            where=source.shown,
        )
    return source.revision or settings.revision or constants.DEFAULT_REVISION


def _look(source: HubFile, settings: Settings, revision: str) -> None:
    """Ask what there is before anything is taken: the library would fall back to an older file."""
    url = huggingface_hub.hf_hub_url(
        source.repository,
        source.file,
        repo_type=source.kind,
        revision=revision,
        endpoint=hub_endpoint(),
    )
    metadata = huggingface_hub.get_hf_file_metadata(
        url,
        token=settings.token.value if settings.token else None,
        timeout=settings.timeout,
        endpoint=hub_endpoint(),
        retry_on_errors=True,
    )
    if metadata.commit_hash is None or metadata.etag is None:
        raise UserError(
            "the server does not speak as the Hugging Face hub does",
            where=hub_endpoint(),
            hint="look at HF_ENDPOINT, and at what is between this machine and the hub",
        )
    check_scheme(metadata.location, settings)
    if (metadata.size or 0) > settings.max_size:
        raise too_large(source.shown, settings.max_size)


def _limited(source: HubFile, max_size: int) -> Any:
    """The library's bar, which also counts what arrives: a server can send more than it said."""

    bar: Any = _library.tqdm

    class Limited(bar):
        received: float = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.received += n or 0
            if self.received > max_size:
                raise too_large(source.shown, max_size)
            return super().update(n)

    return Limited


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The library warns of each attempt with the address, which can be a signed one."""
    level = huggingface_hub.logging.get_verbosity()
    huggingface_hub.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        huggingface_hub.logging.set_verbosity(level)


@dataclass(frozen=True)
class Asked:
    """What the hub is asked for, as far as messages need it."""

    where: str
    repository: str
    revision: str
    settings: Settings


@contextlib.contextmanager
def spoken(asked: Asked) -> Iterator[None]:
    """Errors of the library, in words. Their own text goes no further."""
    try:
        yield
    except UserError:
        raise
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        cause = error.__cause__
        if isinstance(cause, (errors.HfHubHTTPError, _http.HTTPError)):
            raise problem(cause, asked) from None
        which = "--offline" if asked.settings.offline else "HF_HUB_OFFLINE"
        what = f"this file has not been downloaded before, and {which} forbids to do so now"
        raise UserError(what, where=asked.where) from None
    except errors.HFValidationError:
        raise UserError("this cannot be a repository of the hub", where=asked.where) from None
    except (errors.HfHubHTTPError, _http.HTTPError, errors.FileMetadataError) as error:
        raise problem(error, asked) from None
    except OSError as error:
        raise _of_system(error, asked) from None


def _of_system(error: OSError, asked: Asked) -> UserError:
    if error.errno is None:  # the library found that something does not fit
        return UserError(
            "the file that arrived has another length than the hub said",
            where=asked.where,
            hint="try again",
        )
    hint = "name another folder in the environment variable HF_HUB_CACHE"
    what = f"the folder of downloads cannot be written: {error.strerror}"
    return UserError(what, where=constants.HF_HUB_CACHE, hint=hint)


def problem(error: Exception, asked: Asked) -> UserError:
    """What an answer of the hub means for the user, or that there was none."""
    where, repository, token = asked.where, asked.repository, asked.settings.token
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            f"the repository {repository} is gated: its owners let people in one by one",
            where=where,
            hint=f"ask them at {hub_endpoint()}/{repository}, then give your token",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(
            f"the repository {repository} has no revision '{asked.revision}'",
            where=where,
            hint="give the name of a branch or a tag, or the hash of a commit",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(
            f"the repository {repository} has no such file",
            where=where,
            hint=f"see what it has: {hub_endpoint()}/{repository}/tree/main",
        )
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else None
    if isinstance(error, errors.RepositoryNotFoundError):
        return _no_repository(where, repository, token)
    if status == 401 and token is None and huggingface_hub.get_token() is None:
        return UserError(
            "the hub asks for a token",
            where=where,
            hint="give it in HF_TOKEN or with --token-file; make one: "
            f"{hub_endpoint()}/settings/tokens",
        )
    if status == 401:
        return UserError(
            f"the hub does not know the token of {_origin(token)}",
            where=where,
            hint=f"it may have expired; make another: {hub_endpoint()}/settings/tokens",
        )
    if status == 403:
        return UserError(
            f"the token of {_origin(token)} has no right to do this in {repository}",
            where=where,
            hint=f"give it that right: {hub_endpoint()}/settings/tokens",
        )
    if response is not None:
        status_line = f"{status} {response.reason_phrase}".strip()
        return UserError(f"the hub answered {status_line}", where=where, hint="try again later")
    if isinstance(error, _http.TimeoutException):
        return UserError(
            "the hub did not answer in time",
            where=where,
            hint="try again, or with a longer --timeout",
        )
    return UserError(
        "the hub cannot be reached",
        where=f"{where} at {hub_endpoint()}",
        hint="check the network; --offline takes what was downloaded before",
    )


def _no_repository(where: str, repository: str, token: Token | None) -> UserError:
    hint = "check the name; for a private one, give a token in HF_TOKEN or with --token-file"
    if token is not None:
        hint = f"check the name; if it is private, the token of {token.origin} is not let in"
    return UserError(f"the hub shows no repository {repository}", where=where, hint=hint)


def _origin(token: Token | None) -> str:
    return token.origin if token is not None else "'hf auth login'"
