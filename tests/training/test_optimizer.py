"""The schedule as a formula of the step, and the optimizers against torch's own loops."""

import math
import subprocess
import sys

import pytest
import torch
from small_runs import make_options

from mtt.options import TrainingHypers
from mtt.training.optimizer import learning_rate, make_optimizer


def test_learning_rate_rises_linearly_then_falls_as_a_cosine():
    hypers = TrainingHypers(learning_rate=0.5, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, hypers) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[10] == 0.5
    expected = [0.25 * (1 + math.cos(math.pi * (step - 10) / 90)) for step in range(10, 100)]
    assert rates[10:] == pytest.approx(expected)
    assert 0 < rates[-1] < 1e-3 * rates[10]


def test_no_warm_up_and_nothing_but_warm_up():
    assert learning_rate(0, 10, TrainingHypers(learning_rate=0.5, warmup_fraction=0.0)) == 0.5
    # 1 % of 50 steps is less than one step.
    assert learning_rate(0, 50, TrainingHypers(learning_rate=0.5, warmup_fraction=0.01)) == 0.5
    assert learning_rate(9, 10, TrainingHypers(learning_rate=0.5, warmup_fraction=1.0)) == 0.5
    assert learning_rate(10, 10, TrainingHypers(learning_rate=0.5, warmup_fraction=1.0)) == 0.5


@pytest.mark.parametrize("decay", [None, 0.3])
def test_adam_and_adamw_step_as_torch_does_without_fusing(decay):
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    optimizer = make_optimizer([ours], TrainingHypers(learning_rate=0.1, weight_decay=decay))
    if decay is None:
        reference = torch.optim.Adam([theirs], lr=0.1, foreach=False)
    else:
        reference = torch.optim.AdamW([theirs], lr=0.1, weight_decay=decay, foreach=False)
    for _ in range(5):
        for parameter, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            parameter.pow(3).sum().backward()
            one.step()
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not torch.equal(ours, torch.linspace(-1, 1, 7))


STEPS = """
import sys
from pathlib import Path
import torch
from mtt.options import load_options
from mtt.training.loop import train
from mtt.training.prepare import prepare
class Clock:
    def stop_requested(self): return False
    def step(self, loss, n_structures): pass
    def epoch(self, row): print("epoch")
run = prepare(load_options(Path("options.yaml")), None, Path("model.pt"), lambda line: None)
train(run.state, run.problem, Clock())
slow = {"torch._dynamo", "torch._inductor", "sympy", "metatensor", "metatomic", "matplotlib", "httpx"}
print(sorted(slow & set(sys.modules)))
"""


@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.1}], ids=["adam", "adamw"])
def test_no_step_waits_for_what_it_does_not_use(tmp_path, monkeypatch, decay):
    """torch imports its compiler for wrappers of optimizers: a third of the time to a first step.

    metatomic and metatensor compile functions while they are imported, a fifth of it.
    """
    make_options(tmp_path, training={"num_epochs": 1} | decay)
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert (done.stdout.split("\n")[-3:], done.stderr) == (["epoch", "[]", ""], "")
