"""A hub on loopback: what huggingface_hub asks of the Hugging Face hub, and how that answers."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sources.web_server import Asked, Handler

TOKEN = "hf_TheSecretOfThisTestOnly1234567890"
READ_ONLY = "hf_MayReadAndNothingElse123456789012"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

_RESOLVE = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/((?:refs/pr/)?[^/]+)/(.+)")


@dataclass
class Repository:
    """Files by name, and who may see them."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    revisions: list[str] = field(default_factory=lambda: ["main", COMMIT])
    visibility: str | None = None


@dataclass
class Hub:
    """Large files are at ``cdn``, another host, by signed addresses; without one they are here."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    cdn: str | None = None
    faults: list[Callable[[Handler, bytes], None]] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """The hash of the last commit, which no other one has."""
        return f"{int(COMMIT, 16) + len(self.commits):040x}"

    def __call__(self, request: Handler) -> None:
        path = request.path.partition("?")[0].replace("%2F", "/")
        if (found := _RESOLVE.fullmatch(path)) is not None:
            self._resolve(request, *found.groups())
        elif path.startswith("/upload/"):
            self.uploaded[path.rpartition("/")[2]] = request.body
            request.say(200)
        elif self._may_write(request):
            self._api(request, path)

    def _may_write(self, request: Handler) -> bool:
        given = request.headers.get("authorization")
        if given == f"Bearer {TOKEN}":
            return True
        if given == f"Bearer {READ_ONLY}":
            message = "You have read access but not the required permissions"
            request.say(403, b"{}", x_error_message=message)
        else:
            message = "Invalid credentials in Authorization header"
            request.say(401, b"{}", x_error_message=message)
        return False

    def _resolve(self, request: Handler, name: str, revision: str, file: str) -> None:
        given = request.headers.get("authorization")
        if given not in (None, f"Bearer {TOKEN}", f"Bearer {READ_ONLY}"):
            message = "Invalid credentials in Authorization header"
            request.say(401, x_error_message=message)
            return
        repository = self.repositories.get(name)
        if repository is None or (repository.private and given is None):
            request.say(401, x_error_code="RepoNotFound", x_error_message="Repository not found")
        elif repository.private and given != f"Bearer {TOKEN}":
            request.say(403, x_error_message="Forbidden by its owner")
        elif repository.gated:
            request.say(403, x_error_code="GatedRepo", x_error_message="Access is restricted")
        elif revision not in repository.revisions:
            request.say(404, x_error_code="RevisionNotFound", x_error_message="Invalid rev id")
        elif file not in repository.files:
            said = {"x_repo_commit": self.commit, "x_error_message": "Entry not found"}
            request.say(404, x_error_code="EntryNotFound", **said)
        else:
            self._send(request, repository.files[file])

    def _send(self, request: Handler, content: bytes) -> None:
        tag = hashlib.sha256(content).hexdigest()
        said: dict[str, str | int] = {"x_repo_commit": self.commit, "etag": f'"{tag}"'}
        if self.cdn is not None:
            said |= {"x_linked_etag": f'"{tag}"', "x_linked_size": len(content)}
            request.say(302, location=f"{self.cdn}/{tag}?Signature=signed", **said)
        elif request.command == "GET" and self.faults:
            self.faults.pop(0)(request, content)
        elif (
            wanted := re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        ) is not None:
            begin = int(wanted[1])
            part = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            request.say(206, content[begin:], content_range=part, **said)
        else:
            request.say(200, content, **said)

    def _api(self, request: Handler, path: str) -> None:
        said = json.loads(request.body) if path.endswith(("create", "batch", "yaml")) else {}
        if path == "/api/repos/create":
            name = f"{said['organization']}/{said['name']}"
            if name in self.repositories:
                request.say(409, _json({"url": self._url(request, name)}))
                return
            self.repositories[name] = Repository(visibility=said.get("visibility"))
            request.say(200, _json({"url": self._url(request, name)}))
        elif path == "/api/validate-yaml":
            request.say(200, _json({"errors": [], "warnings": []}))
        elif (found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)/(.+)", path)) is not None:
            self._repository(request, *found.groups())
        elif path.endswith("/info/lfs/objects/batch"):
            request.say(
                200, _json({"objects": [self._slot(request, one) for one in said["objects"]]})
            )
        else:
            request.say(404, b"{}", x_error_message=f"this hub knows no {path}")

    def _slot(self, request: Handler, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"http://{request.headers['host']}/upload/{wanted['oid']}"
        return {**wanted, "actions": {"upload": {"href": href}}}

    def _repository(self, request: Handler, name: str, action: str, revision: str) -> None:
        repository = self.repositories[name]
        if action == "branch":
            repository.revisions.append(revision)
            request.say(200, b"{}")
        elif revision not in repository.revisions:
            request.say(
                404, b"{}", x_error_code="RevisionNotFound", x_error_message="Invalid rev id"
            )
        elif action == "preupload":
            files = json.loads(request.body)["files"]
            request.say(200, _json({"files": [_mode(one["path"]) for one in files]}))
        elif action == "commit":
            self._commit(request, name, revision)

    def _commit(self, request: Handler, name: str, revision: str) -> None:
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
                self.repositories[name].files[value["path"]] = content
            elif line["key"] == "lfsFile":
                self.repositories[name].files[value["path"]] = self.uploaded[value["oid"]]
            else:
                self.commits.append({"revision": revision, **value})
        url = f"{self._url(request, name)}/commit/{self.commit}"
        said = {"success": True, "commitOid": self.commit, "commitUrl": url}
        request.say(200, _json({**said, "hookOutput": ""}))

    def _url(self, request: Handler, name: str) -> str:
        return f"http://{request.headers['host']}/{name}"


def store(files: dict[str, bytes]) -> Callable[[Handler], None]:
    """What is behind signed addresses: it wants no token, and takes none."""
    by_hash = {hashlib.sha256(content).hexdigest(): content for content in files.values()}

    def answer(request: Handler) -> None:
        content = by_hash[request.path.strip("/").partition("?")[0]]
        request.say(200, content)

    return answer


def mentions(asked: list[Asked], secret: str) -> bool:
    """Whether a secret is anywhere in what a server was asked."""
    return secret in repr(asked)


def _mode(path: str) -> dict[str, Any]:
    large = path.endswith((".ckpt", ".pt"))
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
