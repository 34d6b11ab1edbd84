"""`mtt sign`: files and a key in, signatures beside the files out; or a new pair of keys."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mtt.cli.arguments import add_data, check_data, check_input, check_output
from mtt.errors import UserError
from mtt.printable import printable

HELP = "sign a checkpoint or a model file, or make keys for that"
DESCRIPTION = """\
Write FILE.sig beside each file: an ed25519 signature, in a DSSE envelope, over a statement with the
file's SHA-256 and what mtt has checked of its origin. What 'mtt verify', 'mtt export' and 'mtt eval'
are told to --require-signature of is used only if its signature is of that key, over this file alone."""
EPILOG = """\
examples:
  mtt sign --new-key lab                  makes lab.key, to be kept, and lab.pub
  mtt sign model.ckpt model.pt --key lab.key
  mtt sign model.pt --key lab.key --ckpt model.ckpt --data data.xyz
  mtt verify model.pt --require-signature lab.pub
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("files", type=Path, metavar="FILE", nargs="*", help="file to sign")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--key", type=Path, metavar="KEY", help="private key to sign with")
    which.add_argument(
        "--new-key",
        type=Path,
        metavar="NAME",
        help="make a pair of keys, NAME.key and NAME.pub; none is ever overwritten",
    )
    parser.add_argument(
        "--ckpt",
        type=Path,
        metavar="CKPT",
        help="checkpoint that a model file was exported from: checked, and vouched for",
    )
    add_data(parser, "data that the checkpoint was trained with: checked, and vouched for")


def run(arguments: Namespace) -> None:
    """Check the files, then sign."""
    from mtt.lineage import keys, sign

    if arguments.new_key is not None:
        if arguments.files:
            raise UserError(
                "--new-key makes keys and signs nothing", hint="sign with --key once they are made"
            )
        check_output(arguments.new_key.with_name(f"{arguments.new_key.name}.key"))
        private, public = keys.new_key(arguments.new_key)
        print(f"wrote {private}, which must stay secret, and {public}")
        return
    if not arguments.files:
        raise UserError("there is no file to sign", hint="mtt sign FILE --key KEY")
    for path in arguments.files:
        check_input(path, "file")
    check_input(arguments.key, "key")
    _check_origin(arguments)
    for path in arguments.files:
        signed = sign.run(path, arguments.key, arguments.ckpt, arguments.data)
        print(printable(f"wrote {signed.path}"))
        for line in signed.lines:
            print(printable(line))


def _check_origin(arguments: Namespace) -> None:
    """What a model comes from is about one model."""
    if arguments.data and not arguments.ckpt:
        raise UserError("--data needs --ckpt, which says how the data were read")
    if arguments.ckpt is None:
        return
    if len(arguments.files) != 1:
        raise UserError(f"--ckpt is about one model file, not {len(arguments.files)}")
    check_input(arguments.ckpt, "file")
    check_data(arguments.data)
