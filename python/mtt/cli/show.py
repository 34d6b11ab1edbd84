"""`mtt show`: checkpoints and model files in, what they are out; torch is not needed."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from mtt.cli.arguments import (
    add_data,
    add_sources,
    check_data,
    check_input,
    fetch,
    sources,
    speaking_of,
)
from mtt.errors import UserError, VerificationFailed
from mtt.printable import print_machine, printable, printable_json
from mtt.tokens import redacted, redacted_json

HELP = "say what a checkpoint or a model file is"
DESCRIPTION = """\
Describe checkpoints and model files: architecture, epoch, metrics, units, elements, data, versions,
sizes. Nothing in them is run or loaded. Of checkpoints and models of other programs it says whose they
are and what can be done with them."""
EPILOG = """\
examples:
  mtt show model.ckpt
  mtt show model.pt --json
  mtt show --diff outputs/model_100.ckpt model.ckpt
  mtt show --chain model.pt --ckpt model.ckpt --data data.xyz --report report.json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="checkpoint or model file: a path, an address, or ORG/REPO FILE",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, or a list for several files"
    )
    parser.add_argument(
        "--diff", action="store_true", help="print only what differs between two files"
    )
    _add_chain(parser)
    add_sources(parser)


def _add_chain(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("where a model file comes from")
    group.add_argument(
        "--chain",
        action="store_true",
        help="check every link from data to model; exits with 3 if one is broken",
    )
    group.add_argument("--ckpt", type=Path, metavar="CKPT", help="checkpoint that was exported")
    add_data(group, "data that the checkpoint was trained with")
    group.add_argument(
        "--report", type=Path, metavar="FILE", help="what mtt verify --json wrote about the model"
    )
    group.add_argument(
        "--require-signature",
        type=Path,
        metavar="PUBLIC_KEY",
        help="check that the signature beside the model is of this key",
    )


def run(arguments: Namespace) -> None:
    """Describe the files, or compare two."""
    from mtt.inspect import describe, diff, show

    _check_chain(arguments)
    origins = sources(arguments.files, arguments, "file")
    if arguments.diff and len(origins) != 2:
        raise UserError(f"--diff compares two files, not {len(origins)}")
    if arguments.chain and len(origins) != 1:
        raise UserError(f"--chain is about one model, not {len(origins)}")
    fetched = fetch(origins, arguments)
    files = [description.path for description in fetched]
    if arguments.chain:
        with speaking_of(fetched):
            _chain(files[0], arguments)
        return
    with speaking_of(fetched):
        if arguments.diff:
            compared = diff.compare(*files)
            compared |= {"a": origins[0].shown, "b": origins[1].shown}
            if arguments.json:
                print_machine(_json(compared))
            else:
                print(redacted(show.difference(compared)))
            return
        descriptions = [describe.describe_any(path) for path in files]
    descriptions = [
        {**description, "path": source.shown}
        for description, source in zip(descriptions, origins, strict=True)
    ]
    if arguments.json:
        print_machine(_json(descriptions[0] if len(descriptions) == 1 else descriptions))
    else:
        print(redacted("\n\n".join(show.text(description) for description in descriptions)))
    with speaking_of(fetched):
        _refuse_damaged(files, descriptions)


def _check_chain(arguments: Namespace) -> None:
    of_chain = {
        "--ckpt": arguments.ckpt,
        "--data": arguments.data,
        "--report": arguments.report,
        "--require-signature": arguments.require_signature,
    }
    used = [flag for flag, value in of_chain.items() if value]
    if not arguments.chain:
        if used:
            raise UserError(f"{used[0]} goes with --chain", hint="mtt show --chain model.pt ...")
        return
    if arguments.diff:
        raise UserError("--chain and --diff are two questions", hint="ask one at a time")
    if arguments.data and not arguments.ckpt:
        raise UserError("--data needs --ckpt, which says how the data were read")
    others = (arguments.ckpt, arguments.report, arguments.require_signature)
    for path in (other for other in others if other):
        check_input(path, "file")
    check_data(arguments.data)


def _chain(model: Path, arguments: Namespace) -> None:
    """Print each link; a broken one is a failed verification."""
    from dataclasses import asdict

    from mtt.lineage import chain

    files = chain.Given(
        model, arguments.ckpt, arguments.report, arguments.data, arguments.require_signature
    )
    links = chain.check(files)
    if arguments.json:
        print_machine(_json([asdict(link) for link in links]))
    else:
        width = max(len(link.name) for link in links)
        for link in links:
            print(redacted(printable(f"{link.state:<11}  {link.name:<{width}}  {link.why}")))
    broken = [link.name for link in links if link.state == "broken"]
    if broken:
        raise VerificationFailed(f"the chain is broken: {', '.join(broken)}")


def _refuse_damaged(files: list[Path], descriptions: list[dict[str, Any]]) -> None:
    """What a damaged file says has been shown, but nobody should take it for sound."""
    for path, description in zip(files, descriptions, strict=True):
        if not description.get("content", {}).get("fits", True):
            from mtt.checkpoint.formats import changed

            raise changed(path)


def _json(value: Any) -> str:
    plain = json.dumps(redacted_json(value), sort_keys=True, indent=2, allow_nan=False)
    return printable_json(plain) + "\n"
