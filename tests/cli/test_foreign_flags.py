"""Flags that a command does not have: what is said, and whose usage is shown."""

import shlex

import pytest

from mtt.cli import make_parser, parse
from mtt.cli.foreign_flags import FLAGS


def said(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(shlex.split(line))
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train o.yaml --restart auto", "write --continue auto"),
        ("train o.yaml --restart=a.ckpt", "write --continue a.ckpt"),
        ("train o.yaml -e extensions/", "leave it out: models of mtt need no extensions"),
        ("train o.yaml --device cuda", "write it to the options file, or write -r device=cuda"),
        (
            "train o.yaml --batch-size=4",
            "write it to the options file, or write -r architecture.training.batch_size=4",
        ),
        (
            "train o.yaml --lr 0.1",
            "write it to the options file, or write -r architecture.training.learning_rate=0.1",
        ),
        (
            "train o.yaml --ema",
            "leave it out: mtt keeps the weights of the best epoch, not a moving average",
        ),
        ("train o.yaml --contine auto", "did you mean --continue?"),
        ("train o.yaml --dry_run", "did you mean --dry-run?"),
        ("eval m.pt e.yaml -b 4", "leave it out: mtt eval chooses the batches"),
        ("eval m.pt e.yaml -e ext", "write --extensions ext"),
        ("export a.ckpt --branch main", "write --revision main"),
        ("image build pet@1 --siff", "did you mean --sif?"),
        ("--debug train o.yaml", "leave it out: error.log has the details of what failed"),
        ("train o.yaml more", None),
        ("train o.yaml -r seed=1 more", None),
        ("train o.yaml -r a.b 4", "write -r a.b=4"),
        ("train o.yaml --continue", "write --continue auto, or --continue model.ckpt"),
        ("train o.yaml --frobnicate", None),
    ],
)
def test_a_flag_gets_a_hint(
    line: str, hint: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(line, capsys)
    assert error.startswith("usage: mtt")
    if hint is None:
        assert "hint" not in error
    else:
        assert error.endswith(f"\n  hint: {hint}\n")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("train o.yaml --x", "mtt train"),
        ("image build pet@1 --x", "mtt image build"),
        ("convert options a -o b --x", "mtt convert options"),
        ("--x train o.yaml", "mtt"),
        ("train train --x", "mtt train"),
    ],
)
def test_the_usage_is_that_of_the_command(
    line: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(line, capsys)
    assert error.startswith(f"usage: {command} [-h]")
    assert f"\n{command}: error: unrecognized arguments: --x\n" in error


def test_no_flag_with_a_hint_is_one_of_ours() -> None:
    (commands,) = (
        each.choices for each in make_parser()._actions if isinstance(each.choices, dict)
    )
    for name, flags in FLAGS.items():
        own = commands[name]._option_string_actions if name else {}
        assert not set(flags) & set(own)
