"""`mtt image`: the images that versions of architectures live on in."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtt.cli.arguments import check_input

HELP = "list, build, check, push, pull or trust the images of old versions"
DESCRIPTION = """\
Each version of an architecture lives on in an image with everything it needs, so that its
checkpoints never stop working. Images are in the folder MTT_IMAGES, by default
~/.local/share/mtt/images."""
EPILOG = """\
examples:
  mtt image list
  mtt image for old.ckpt
  mtt image build pet@1 --sif
  mtt image check pet@1
  mtt image push pet@1 registry.example.org/group/pet:1
  mtt image pull pet@1 registry.example.org/group/pet:1
  mtt image trust pet@1 shared/pet-1.sif --sha256 HEX
"""

_ABOUT = {
    "list": "which images there are, and which are here",
    "for": "which image a checkpoint needs, and how to run it",
    "build": "build an image from its locked recipe",
    "check": "build it again and compare with the catalogue: exits with 3 if it differs",
    "push": "copy an image to a registry",
    "pull": "copy an image from a registry, and check its digest",
    "trust": "take a .sif file that somebody else made for an image, by its sha256",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    parsers: dict[str, ArgumentParser] = {}
    for name, about in _ABOUT.items():
        parsers[name] = actions.add_parser(
            name,
            help=about,
            description=about.capitalize() + ".",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parsers[name].set_defaults(action=name)
    parsers["for"].add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint")
    for name in ("build", "check", "push", "pull", "trust"):
        parsers[name].add_argument("image", metavar="NAME@VERSION", help="for instance pet@1")
    parsers["build"].add_argument(
        "--sif", action="store_true", help="also make the .sif file that Apptainer runs"
    )
    parsers["build"].add_argument(
        "--fresh", action="store_true", help="make every layer anew, whatever the cache has"
    )
    parsers["pull"].add_argument("--sif", action="store_true", help="also make the .sif file")
    parsers["push"].add_argument("reference", metavar="REFERENCE", help="REGISTRY/NAME:TAG")
    parsers["pull"].add_argument(
        "reference",
        metavar="REFERENCE",
        nargs="?",
        help="REGISTRY/NAME:TAG (default: where the catalogue says that it is)",
    )
    for name in ("push", "pull"):
        parsers[name].add_argument(
            "--plain-http", action="store_true", help="a registry without TLS, as on this machine"
        )

    parsers["trust"].add_argument(
        "file",
        type=Path,
        metavar="FILE",
        nargs="?",
        help="the .sif file (default: that of the image in the folder of images)",
    )
    parsers["trust"].add_argument(
        "--sha256", metavar="HEX", required=True, help="its SHA-256, from whoever made it"
    )


def run(arguments: Namespace) -> None:
    """Run the action."""
    if arguments.action == "for":
        check_input(arguments.checkpoint, "checkpoint")

    sha256 = ""
    if arguments.action == "trust":
        from mtt.sources.source import check_sha256

        sha256 = check_sha256(arguments.sha256, "--sha256")
        if arguments.file is not None:
            check_input(arguments.file, "image")

    from mtt.images import commands as stage

    tell: Callable[[str], None] = lambda text: print(text, flush=True)  # noqa: E731
    actions: dict[str, Callable[[], Any]] = {
        "list": lambda: stage.list_images(tell),
        "for": lambda: stage.image_for(arguments.checkpoint, tell),
        "build": lambda: stage.build(arguments.image, arguments.sif, arguments.fresh, tell),
        "check": lambda: stage.check(arguments.image, tell),
        "push": lambda: stage.push(
            arguments.image, arguments.reference, arguments.plain_http, tell
        ),
        "pull": lambda: stage.pull(
            arguments.image, arguments.reference, arguments.plain_http, arguments.sif, tell
        ),
        "trust": lambda: stage.trust(arguments.image, arguments.file, sha256, tell),
    }
    actions[arguments.action]()
