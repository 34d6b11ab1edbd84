"""A web server on loopback that can be told to misbehave, and that remembers what it was asked."""

import datetime
import ipaddress
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Handler(BaseHTTPRequestHandler):
    """One connection. What is done with a request is the business of ``Server.answers``."""

    protocol_version = "HTTP/1.1"
    server: "Listener"

    def setup(self) -> None:
        # Here, and not while the next connection is waited for.
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, self.body))
        self.server.answer(self)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def say(self, status: int, content: bytes = b"", **headers: str | int) -> None:
        """A whole answer; ``content_length`` can be a lie."""
        named = {key.replace("_", "-"): str(value) for key, value in headers.items()}
        named.setdefault("content-length", str(len(content)))
        self.send_response(status)
        for key, value in named.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def hang_up(self) -> None:
        """Break the connection off."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Listener(ThreadingHTTPServer):
    """The socket, and what came in."""

    daemon_threads = True
    context: ssl.SSLContext | None = None

    def __init__(self, answer: Callable[[Handler], None], context: ssl.SSLContext | None) -> None:
        self.answer = answer
        self.context = context
        self.asked: list[Asked] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: object) -> None:
        pass  # the other side hung up, which tests do on purpose


@dataclass
class Web:
    """A running server: where it is, and what it was asked."""

    listener: Listener
    scheme: str = "http"
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.listener.server_address[1]}"

    @property
    def asked(self) -> list[Asked]:
        return self.listener.asked


@contextmanager
def serving(
    answer: Callable[[Handler], None], certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[Web]:
    """Serve from a thread; with a certificate, by HTTPS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    listener = Listener(answer, context)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Web(listener, "https" if context else "http", host)
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


@dataclass
class Files:
    """Answers like an orderly server with ETag and Range; ``faults`` come first, one per request."""

    files: dict[str, bytes]
    faults: list[Callable[[Handler, bytes], None]] = field(default_factory=list)
    etag: str | None = '"one"'

    def __call__(self, request: Handler) -> None:
        content = self.files.get(request.path.partition("?")[0])
        if content is None:
            request.say(404, b"nothing here")
            return
        if self.faults:
            self.faults.pop(0)(request, content)
            return
        tag = {"etag": self.etag} if self.etag else {}
        if self.etag and request.headers.get("if-none-match") == self.etag:
            request.say(304, **tag)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if wanted is None or request.headers.get("if-range") != self.etag:
            request.say(200, content, **tag)
            return
        begin = int(wanted[1])
        if begin >= len(content):
            request.say(416, content_range=f"bytes */{len(content)}")
            return
        said = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        request.say(206, content[begin:], content_range=said, **tag)


def half(request: Handler, content: bytes) -> None:
    """Send half of the file, and break off."""
    start = content[: len(content) // 2]
    request.say(200, start, content_length=len(content), etag='"one"')
    request.hang_up()


def stall(request: Handler, content: bytes) -> None:
    """Send a tenth of the file, then nothing for longer than anyone waits."""
    start = content[: len(content) // 10]
    request.say(200, start, content_length=len(content), etag='"one"')
    request.wfile.flush()
    time.sleep(1.5)
    request.close_connection = True


def status(number: int, **headers: str | int) -> Callable[[Handler, bytes], None]:
    """Answer with this status and nothing else."""
    return lambda request, _: request.say(number, b"", **headers)


def redirect(target: str) -> Callable[[Handler], None]:
    """Send everybody to another address."""
    return lambda request: request.say(302, location=target)


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority of our own: the file that trusts it, and key and certificate of its server."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("mtt tests", "host")
    ]

    def builder(subject: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(names[subject])
            .issuer_name(names[0])
            .public_key(keys[subject].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=subject == 0, path_length=None), critical=True)
        )

    own = x509.SubjectKeyIdentifier.from_public_key(keys[0].public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = builder(0).add_extension(own, critical=False).add_extension(usage, critical=True)
    hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    server = builder(1).add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
    server = server.add_extension(issuer, critical=False)
    pem = serialization.Encoding.PEM
    key = keys[1].private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    trusted, chain = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(authority.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    chain.write_bytes(key + server.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    return trusted, chain
