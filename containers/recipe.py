"""Write the recipe of an image from the templates: ``python containers/recipe.py pet@1``.

What the catalogue, versions.json, says of the image fills the templates in. A recipe is committed
with its locks (see lock.py) and never deleted; it is made again only before its digest is published.
"""

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
SHARED = ("libraries.sh", "prune.sh", "prune.py", "mtt.sh", "root.sh")
LOCKS = ("base.lock", "build.lock", "builder.lock", "python.lock", "verify.lock")
TITLE = "org.opencontainers.image"
ENVIRONMENT = {
    "mtt": "PATH=/opt/mtt/bin:/usr/bin:/bin LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1",
    "mtt-verify": "PATH=/opt/verify/mtt/bin",
}
PARTS = {
    "mtt": "COPY --from=libraries /out/libraries /\nCOPY --from=wheel /out/mtt /",
    "mtt-verify": "COPY --from=wheel /out/verify /",
}
PROGRAM = {
    "mtt": "/opt/mtt/bin/mtt",
    "mtt-verify": "/opt/verify/mtt/bin/mtt-verify",
}


# What the libraries of an image come from: those that mtt is compiled with, or others for a GPU.
LIBRARIES = {
    "cpu": "FROM builder",
    "cuda": """FROM scratch AS cuda
ADD builder.tar /
COPY libraries.sh build.lock /recipe/
COPY libraries.lock /recipe/python.lock
RUN --mount=type=bind,source=libraries,target=/wheels sh /recipe/libraries.sh

FROM cuda""",
}
# Packages of an extra of mtt: the other layers are those of the image without.
EXTRA = """
FROM builder AS extra
COPY extra.sh prune.py extra.lock /recipe/
RUN --mount=type=bind,source=wheels,target=/wheels --mount=type=bind,source=extra,target=/extra \\
    sh /recipe/extra.sh
"""


def labels(image: dict, lane: str, lock_hash: str) -> dict[str, str]:
    """The labels by which people and programs know an image without running it."""
    found = {
        f"{TITLE}.title": f"{image['name']}@{image['version']}",
        f"{TITLE}.description": image["description"],
        f"{TITLE}.version": str(image["version"]),
        f"{TITLE}.revision": image["commit"],
        f"{TITLE}.created": created(image["epoch"]),
        f"{TITLE}.licenses": "BSD-3-Clause",
        "mtt.locks": lock_hash,
        "mtt.lane": lane,
    }
    if image["architecture"] is not None:
        found["mtt.architecture"] = image["architecture"]
        found["mtt.architecture.version"] = str(image["version"])
    if image.get("also"):
        others = sorted(image["also"].items())
        found["mtt.architecture.also"] = " ".join(f"{name}@{version}" for name, version in others)
    return found


def created(epoch: int) -> str:
    """The time of the image in the form of RFC 3339."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def locks_hash(locks: list[Path]) -> str:
    """One hash over all locks, in the order given."""
    return "sha256:" + hashlib.sha256(b"".join(one.read_bytes() for one in locks)).hexdigest()


def main() -> None:
    """Fill the templates in for the image given: ``pet@2``, or ``pet@2-cuda``."""
    name, _, version = sys.argv[1].partition("@")
    version, _, lane = version.partition("-")
    lane = lane or "cpu"
    images = json.loads((HERE / "versions.json").read_text())["images"]
    (image,) = (one for one in images if (one["name"], one["version"]) == (name, int(version)))
    own = image["lanes"][lane]
    recipe = HERE.parent / own.get("recipe", image["recipe"])
    recipe.mkdir(parents=True, exist_ok=True)
    locks = [HERE.parent / image["locks"] / name for name in LOCKS]
    locks += [HERE.parent / own["libraries"]] if "libraries" in own else []
    locks += [HERE.parent / image["extra"]] if "extra" in image else []
    texts = labels(image, lane, locks_hash(locks))
    program = image["program"]
    values = {
        "EPOCH": str(image["epoch"]),
        "TORCH_MINOR": image["torch"].rpartition(".")[0],
        "PARTS": PARTS[program] + ("\nCOPY --from=extra /out/extra /" if "extra" in image else ""),
        "EXTRA": EXTRA if "extra" in image else "",
        "LIBRARIES": LIBRARIES[lane],
        "ENV": ENVIRONMENT[program],
        "ENTRY": PROGRAM[program],
        "LABELS": " \\\n    ".join(f'{key}="{value}"' for key, value in texts.items()),
    }
    for name in ("Containerfile", *SHARED, *(["extra.sh"] if "extra" in image else [])):
        text = (HERE / "templates" / name).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        (recipe / name).write_text(text)


if __name__ == "__main__":
    main()
