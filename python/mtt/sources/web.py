"""Files of web servers: time-outs, resuming what broke off, trying again, and limits.

Nothing of the answer is believed: neither its length, nor that it is of the content that was begun.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx

from mtt.errors import UserError
from mtt.sources.cache import Cache, Partial
from mtt.sources.download_progress import Bar, size_text
from mtt.sources.fetch_settings import Settings
from mtt.sources.source import WebFile, without_secrets
from mtt.sources.watch import LONGEST, TooSlow, Watch
from mtt.version import __version__

_REDIRECTS: Final = 10
_LATER: Final = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT: Final = 60.0
# A server that sends little each time and breaks off is not waited for without end.
_PROGRESS: Final = 2**20


class _Broken(Exception):
    """This attempt has failed, and another one may not; ``wait`` is what the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        self.reason = reason
        self.wait = wait
        super().__init__(reason)


def download(source: WebFile, settings: Settings, pin: str | None) -> Path:
    """The file of an address: from the cache if it has not changed, else downloaded.

    :raises UserError: with what failed
    """
    cache = Cache()
    if pin is not None and (path := cache.content(pin, source.name)) is not None:
        return path
    if settings.offline:
        cached = cache.known(source.url)
        if cached is None:
            raise UserError(
                "this file has not been downloaded before, and --offline forbids to do so now",
                where=source.shown,
            )
        return cached[1]
    check_scheme(source.url, settings)
    with _client(settings) as client:
        return _Download(client, cache, source, settings).run()


def check_scheme(url: str, settings: Settings) -> None:
    """Plain http, which anyone on the way can read and change, is for those who ask for it."""
    if url.startswith("http:") and not settings.allow_http:
        raise UserError(
            "plain http is not encrypted: anyone on the way could read and change the file",
            where=without_secrets(url),
            hint="use https, or allow it with --allow-http, best together with --sha256",
        )


def _client(settings: Settings) -> httpx.Client:
    headers = {"user-agent": f"mtt/{__version__}", "accept-encoding": "identity"}
    try:
        return httpx.Client(timeout=settings.timeout, headers=headers)
    except (OSError, ValueError) as error:  # of SSL_CERT_FILE or of a proxy's address
        raise UserError(
            f"the settings of the network cannot be used: {type(error).__name__}",
            hint="look at SSL_CERT_FILE, HTTPS_PROXY and HTTP_PROXY",
        ) from None


class _Download:
    """One address, over as many attempts as it takes."""

    def __init__(
        self, client: httpx.Client, cache: Cache, source: WebFile, settings: Settings
    ) -> None:
        self.client = client
        self.cache = cache
        self.source = source
        self.settings = settings
        self.watch = Watch(settings.timeout)

    def run(self) -> Path:
        """The file, the same as before if the server says so."""
        cached = self.cache.known(self.source.url)
        if cached is not None:
            known, path = cached
            conditions = {"if-none-match": known.etag, "if-modified-since": known.modified}
            headers = {key: value for key, value in conditions.items() if value}
            if headers and self._unchanged(headers):
                return path
        with self.cache.partial(self.source.url) as partial:
            again = self.cache.known(self.source.url)
            if again is not None and again != cached:
                return again[1]  # another process has just downloaded it
            with Bar(self.source.name) as bar:
                self._whole(partial, bar)
            return self.cache.keep(self.source.url, partial, self.source.name)

    def _unchanged(self, headers: dict[str, str]) -> bool:
        def ask() -> bool:
            with self._open(headers) as response:
                return response.status_code == 304

        return self._patiently(ask, lambda: 0)

    def _whole(self, partial: Partial, bar: Bar) -> None:
        def attempt() -> bool:
            self._attempt(partial, bar)
            return True

        try:
            self._patiently(attempt, lambda: partial.worth)
        except BaseException:
            if partial.validator is None:
                partial.discard()  # nobody could tell whether the rest is of the same content
            raise

    def _patiently(self, attempt: Callable[[], bool], have: Callable[[], int]) -> bool:
        """Try until it works or there is no hope, waiting longer each time."""
        failures = 0
        while True:
            before = have()
            try:
                with self.watch.watching():
                    return attempt()
            except TooSlow as error:
                raise self._too_slow(str(error), have()) from None
            except _Broken as broken:
                failures = 0 if have() - before > _PROGRESS else failures + 1
                if failures > self.settings.retries:
                    raise self._given_up(broken.reason, failures, have()) from None
                wait = self.settings.backoff * 2 ** max(failures - 1, 0)
                time.sleep(min(max(wait, broken.wait or 0.0), _LONGEST_WAIT))

    def _too_slow(self, why: str, have: int) -> UserError:
        hint = "try again later, or allow it more time with --timeout"
        if have:
            hint = f"{size_text(have)} are kept: the same command resumes there"
        return UserError(f"the download was ended: {why}", where=self.source.shown, hint=hint)

    def _given_up(self, reason: str, attempts: int, have: int) -> UserError:
        hint = "try again later, or wait longer for answers with --timeout"
        if have:
            hint = f"{size_text(have)} are kept: the same command resumes there"
        return UserError(
            f"the download failed {attempts} times, the last time because {reason}",
            where=self.source.shown,
            hint=hint,
        )

    def _attempt(self, partial: Partial, bar: Bar) -> None:
        have = partial.worth
        headers = {}
        if have and partial.validator:
            headers = {"range": f"bytes={have}-", "if-range": partial.validator}
        with self._open(headers) as response:
            if response.status_code == 416 and headers:
                if have == partial.total:
                    return  # all of it is here
                partial.discard()
                raise _Broken("the server has less of the file than before")
            if not self._resumes(response, partial, have):
                self._begin(response, partial)
            bar.start(partial.total, partial.have)
            self._copy(response, partial, bar)
        if partial.total is not None and partial.have != partial.total:
            partial.discard()
            raise _Broken("the server sent another length than it said")

    def _begin(self, response: httpx.Response, partial: Partial) -> None:
        if response.status_code != 200:
            partial.discard()
            raise _Broken(f"the server sent a part that was not asked for ({response.status_code})")
        length = response.headers.get("content-length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
        self._check_size(total or 0)
        with self.cache.writing():
            headers = response.headers
            partial.begin(headers.get("etag"), headers.get("last-modified"), total)

    def _resumes(self, response: httpx.Response, partial: Partial, have: int) -> bool:
        """Whether this is the part from where ours ends, of a file of the same length."""
        if not have or response.status_code != 206:
            return False
        content_range = response.headers.get("content-range", "").removeprefix("bytes ")
        begin, _, total = content_range.partition("/")
        if begin.partition("-")[0] != str(have):
            return False
        if partial.total is None and total.isascii() and total.isdigit():
            partial.total = int(total)
        return total in ("*", str(partial.total))

    def _copy(self, response: httpx.Response, partial: Partial, bar: Bar) -> None:
        with self.cache.writing(), partial.path.open("ab") as file:
            size = file.tell()
            try:
                for piece in response.iter_raw():  # of any size, so that nothing waits to be lost
                    self.watch.count(len(piece))
                    size += len(piece)
                    if size > self.settings.max_size:
                        partial.discard()
                        self._check_size(size)
                    file.write(piece)
                    bar.advance(len(piece))
            except httpx.TransportError as error:
                raise _Broken(reason(error, self.settings)) from None

    def _check_size(self, size: int) -> None:
        if size > self.settings.max_size:
            raise too_large(self.source.shown, self.settings.max_size)

    @contextlib.contextmanager
    def _open(self, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """The answer behind all redirects. What httpx sends to one host stays with it."""
        try:
            request = self.client.build_request("GET", self.source.url, headers=headers)
            for _ in range(_REDIRECTS + 1):
                request.extensions["trace"] = self.watch.trace
                response = self.client.send(request, stream=True)
                if response.next_request is None:
                    break
                response.close()
                check_scheme(str(response.next_request.url), self.settings)
                request = response.next_request
            else:
                raise UserError("the server redirects without end", where=self.source.shown)
        except httpx.InvalidURL:
            raise UserError("this is no address of a file", where=self.source.shown) from None
        except httpx.TransportError as error:
            if (why := hopeless(error)) is not None:
                raise UserError(why[0], where=self.source.shown, hint=why[1]) from None
            raise _Broken(reason(error, self.settings)) from None
        try:
            self._check_status(response)
            yield response
        finally:
            response.close()

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in (200, 206, 304, 416):
            if response.headers.get("content-encoding", "identity") != "identity":
                raise UserError(
                    "the server packs the file, which was not asked for", where=self.source.shown
                )
            return
        status_line = f"{status} {response.reason_phrase}".strip()
        if status in _LATER:
            after = response.headers.get("retry-after", "")
            wait = float(after[:20]) if after.isascii() and after.isdigit() else None
            if wait is not None and wait > LONGEST:
                raise UserError(
                    f"the server answered {status_line}, and asks to come back in {wait:.0f} s",
                    where=self.source.shown,
                    hint="try again then",
                )
            raise _Broken(f"the server answered {status_line}", wait)
        raise UserError(
            f"the server answered {status_line}", where=self.source.shown, hint=_hint(status)
        )


def _hint(status: int) -> str:
    if status in (401, 403):
        return "the file is not public: download it in your own way, and give its path"
    if status in (404, 410):
        return "there is no such file: check the address"
    return "check the address in a browser"


def too_large(where: str, limit: int) -> UserError:
    """The error for a file above the limit, which may be much larger than its server says."""
    return UserError(
        f"the file is larger than {size_text(limit)}",
        where=where,
        hint="if that is right, allow more with --max-size",
    )


def reason(error: httpx.TransportError, settings: Settings) -> str:
    """Why an attempt failed, in words that need no source of httpx; its own may hold an address."""
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection was made within {settings.timeout:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"nothing was received for {settings.timeout:g} s"
    if isinstance(error, httpx.ConnectError):
        if _cause(error, ConnectionRefusedError) is not None:
            return "the connection was refused"
        return "no connection could be made"
    if isinstance(error, httpx.ProxyError):
        return "the proxy did not let it through"
    return "the connection broke off"


def hopeless(error: httpx.TransportError) -> tuple[str, str] | None:
    """What is wrong and what to do, if trying again would change nothing."""
    untrusted = _cause(error, ssl.SSLCertVerificationError)
    if isinstance(untrusted, ssl.SSLCertVerificationError):
        what = f"the server's certificate is not trusted: {untrusted.verify_message}"
        return what, "name the file of your own authority's certificates in SSL_CERT_FILE"
    unknown = _cause(error, socket.gaierror)
    if isinstance(unknown, socket.gaierror) and unknown.errno == socket.EAI_NONAME:
        return "there is no server of this name", "check the address, and the network"
    if isinstance(error, httpx.UnsupportedProtocol):
        return "the server redirects to an address that is not of the web", "tell its owner"
    return None


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, kind):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
