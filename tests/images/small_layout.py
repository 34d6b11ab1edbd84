"""A tiny OCI layout, made without any tool."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path


def write_layout(path: Path, text: str = "hello", architecture: str = "amd64") -> str:
    """Write a layout of one layer with one file; its manifest digest."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return f"sha256:{digest}", len(content)

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    layer, layer_size = put(gzip.compress(archive.getvalue(), mtime=0))
    labels = {"org.opencontainers.image.title": "pet@1"}
    config = {"architecture": architecture, "os": "linux", "config": {"Labels": labels}}
    config_digest, config_size = put(json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": config_digest, "size": config_size},
        "layers": [{"digest": layer, "size": layer_size}],
    }
    digest, size = put(json.dumps(manifest).encode())
    kind = "application/vnd.oci.image.manifest.v1+json"
    index = {"manifests": [{"mediaType": kind, "digest": digest, "size": size}]}
    (path / "index.json").write_text(json.dumps(index))
    return digest
