"""Kernels of the training step: the functions of torch, and their derivatives, whatever the processor."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from mtt import architecture_registry
from mtt.architectures import kernels
from mtt.architectures.cores import new_core
from mtt.architectures.evaluate import evaluate
from mtt.architectures.interface import Core
from mtt.data.graph import Graph
from mtt.data.target import Target

DTYPE = torch.float64


@pytest.fixture(autouse=True)
def loaded():
    assert kernels.missing() is None


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instructions(request):
    known = torch.ops.mtt_training.instruction_sets()
    if request.param not in known:
        pytest.skip(f"this processor has no {request.param}")
    before = torch.ops.mtt_training.instructions()
    torch.ops.mtt_training.use_instructions(request.param)
    yield request.param
    torch.ops.mtt_training.use_instructions(before)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


def derivatives(function, inputs, first):
    """Return values, gradients by ``inputs[first]`` and gradients of a function of both by all inputs."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    values = function(*inputs)
    weights = torch.linspace(-1, 1, values.numel(), dtype=DTYPE).reshape(values.shape)
    scalar = (values * weights).sum() + (values * values).sum()
    gradients = torch.autograd.grad(scalar, [inputs[i] for i in first], create_graph=True)
    loss = (values**3).sum()
    for gradient in gradients:
        loss = loss + (gradient * gradient).sum()
    return [values, *gradients, *torch.autograd.grad(loss, inputs)]


def assert_same(function, reference, inputs, first=(0,)):
    ours, theirs = derivatives(function, inputs, first), derivatives(reference, inputs, first)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() <= 1e-13 * other.abs().max()


# Ours, that of torch, and the number of tensors beside the rows.
RMS_NORM = (
    lambda x, w: torch.ops.mtt_training.rms_norm(x, w, 1e-6),
    lambda x, w: torch.nn.functional.rms_norm(x, x.shape[1:], w, 1e-6),
    1,
)
LAYER_NORM = (
    lambda x, w, b: torch.ops.mtt_training.layer_norm(x, w, b, 1e-6),
    lambda x, w, b: torch.nn.functional.layer_norm(x, x.shape[1:], w, b, 1e-6),
    2,
)


# 100 rows: more than one block of rows. 13 numbers: not a multiple of what a register holds.
@pytest.mark.parametrize("by_weights", [False, True])
@pytest.mark.parametrize(
    ("kind", "size"),
    [(RMS_NORM, 1), (RMS_NORM, 13), (RMS_NORM, 64), (LAYER_NORM, 13), (LAYER_NORM, 64)],
    ids=lambda value: str(value) if isinstance(value, int) else f"{value[2]} weights",
)
def test_norm(instructions, kind, size, by_weights):
    ours, reference, n_weights = kind
    x = numbers(100, size) + 1
    weights = [numbers(size, seed=1 + k) for k in range(n_weights)]
    if by_weights:  # also where the gradient by the weights is differentiated, as no training does
        results = []
        for function in (ours, reference):
            w = [each.clone().requires_grad_() for each in weights]
            value = (function(x, *w) ** 2).sum()
            gradients = torch.autograd.grad(value, w, create_graph=True)
            results.append(torch.autograd.grad(sum((g**2).sum() for g in gradients), w[0])[0])
        torch.testing.assert_close(*results, rtol=1e-12, atol=0)
    else:
        assert_same(ours, reference, [x, *weights])


def test_activations(instructions):
    # Also where the exponential is at the end of its range.
    x = torch.cat([3 * numbers(70, 26), 1000 * numbers(10, 26, seed=1)])
    assert_same(torch.ops.mtt_training.silu, torch.nn.functional.silu, [x])
    assert_same(torch.ops.mtt_training.glu, torch.nn.functional.glu, [x])


def plain_attention(qkv, factors, first, counts, heads, scale):
    """Return the same as the operator, written down without a thought of speed."""
    n_atoms, size = len(counts), qkv.shape[1] // 3 // heads
    rows = [torch.zeros(0)] * len(qkv)
    for atom in range(n_atoms):
        edges = range(int(first[atom]), int(first[atom]) + int(counts[atom]))
        own = [atom, *(n_atoms + edge for edge in edges)]
        q, k, v = qkv[own].reshape(len(own), 3, heads, size).permute(1, 2, 0, 3)
        f = torch.cat([factors.new_ones(1), factors[list(edges)]])
        scores = scale * q @ k.transpose(1, 2)
        weights = torch.exp(scores - scores.amax(-1, keepdim=True)) * f
        mixed = (weights / weights.sum(-1, keepdim=True)) @ v
        for place, row in enumerate(own):
            rows[row] = mixed[:, place].reshape(-1)
    return torch.stack(rows)


# The sizes of heads that are a multiple of eight numbers, and others; from no neighbor to many.
@pytest.mark.parametrize(("heads", "size"), [(4, 8), (2, 16), (1, 32), (3, 5), (2, 20)])
def test_attention(instructions, heads, size):
    counts = torch.tensor([3, 0, 20, 7, 1, 8, 15, 16, 2, 5])
    first, n_edges = counts.cumsum(0) - counts, int(counts.sum())
    qkv = numbers(len(counts) + n_edges, 3 * heads * size)
    factors = torch.rand(n_edges, generator=torch.Generator().manual_seed(2), dtype=DTYPE)
    factors[2] = 0.0  # at the cutoff

    def ours(qkv, factors):
        return torch.ops.mtt_training.attention(qkv, factors, first, counts, 21, heads, 0.3)

    def reference(qkv, factors):
        return plain_attention(qkv, factors, first, counts, heads, 0.3)

    assert_same(ours, reference, [qkv, factors], first=(0, 1))


def test_exponentials_are_exact_to_their_last_bits(instructions):
    for dtype, end, error in ((torch.float32, 80, 4e-7), (torch.float64, 700, 2e-15)):
        x = torch.linspace(-end, end, 4001, dtype=dtype)
        exact = torch.nn.functional.silu(x.to(DTYPE))
        assert ((torch.ops.mtt_training.silu(x) - exact).abs() <= error * exact.abs()).all()


def test_single_precision(instructions):
    counts = torch.tensor([3, 0, 9, 20])
    first = counts.cumsum(0) - counts
    qkv, factors = numbers(36, 48).float(), numbers(32, seed=1).float().sigmoid()
    weight = numbers(48, seed=2).float()
    for function, reference, inputs in (
        (
            lambda x, f: torch.ops.mtt_training.attention(x, f, first, counts, 21, 2, 0.3),
            lambda x, f: plain_attention(x, f, first, counts, 2, 0.3),
            [qkv, factors],
        ),
        (*RMS_NORM[:2], [qkv, weight]),
        (*LAYER_NORM[:2], [qkv, weight, weight + 1]),
        (torch.ops.mtt_training.silu, torch.nn.functional.silu, [qkv]),
        (torch.ops.mtt_training.glu, torch.nn.functional.glu, [qkv]),
    ):
        theirs = derivatives(reference, [one.to(DTYPE) for one in inputs], (0,))
        for one, other in zip(derivatives(function, inputs, (0,)), theirs, strict=True):
            assert one.dtype == torch.float32
            assert (one - other).abs().max() <= 3e-6 * other.abs().max()


@pytest.mark.parametrize("first", [(0,), (1,)], ids=["tokens", "factors"])
def test_attention_where_only_some_gradients_are_differentiated(first):
    """And where only some inputs have gradients."""
    counts = torch.tensor([3, 0, 9])
    begin = counts.cumsum(0) - counts
    qkv, factors = numbers(15, 30), torch.rand(12, dtype=DTYPE)

    def ours(qkv, factors):
        return torch.ops.mtt_training.attention(qkv, factors, begin, counts, 10, 2, 0.3)

    def reference(qkv, factors):
        return plain_attention(qkv, factors, begin, counts, 2, 0.3)

    assert_same(ours, reference, [qkv, factors], first)
    both = [ours, reference]
    if first == (0,):
        assert_same(*(lambda x, f=f: f(x, factors) for f in both), [qkv])
    else:
        assert_same(*(lambda x, f=f: f(qkv, x) for f in both), [factors])


def test_numbers_may_lie_anywhere():
    """Rows with gaps between their numbers, turned, and one row many times."""
    turned, repeated = numbers(40, 7).t()[:, ::2], numbers(1, 6).expand(70, 6)
    for x in (turned, repeated):
        assert not x.is_contiguous()
        assert_same(torch.ops.mtt_training.silu, torch.nn.functional.silu, [x])
        assert_same(torch.ops.mtt_training.glu, torch.nn.functional.glu, [x])
    many, weight = numbers(3, 5, 8).transpose(0, 1), numbers(16, seed=1)[::2]
    assert_same(
        lambda x, w: torch.ops.mtt_training.rms_norm(x, w, 1e-6),
        lambda x, w: torch.nn.functional.rms_norm(x, (8,), w, 1e-6),
        [many, weight],
    )


@pytest.mark.parametrize("n_atoms", [0, 4])
def test_no_edges_and_no_atoms(n_atoms):
    counts, factors = torch.zeros(n_atoms, dtype=torch.int64), numbers(0).requires_grad_()
    qkv = numbers(n_atoms, 24).requires_grad_()
    values = torch.ops.mtt_training.attention(qkv, factors, counts, counts, 1, 2, 0.3)
    assert torch.equal(values, qkv[:, 16:])  # a token alone sees itself
    by = torch.autograd.grad((values**2).sum(), [qkv, factors], create_graph=True)
    torch.autograd.backward([(one**2).sum() for one in by])
    assert torch.equal(qkv.grad, torch.cat([torch.zeros(n_atoms, 16), 8 * qkv[:, 16:]], dim=1))
    assert by[1].shape == factors.grad.shape == (0,)
    weight, rows = numbers(6).requires_grad_(), numbers(0, 6).requires_grad_()
    for function in (
        torch.ops.mtt_training.silu,
        torch.ops.mtt_training.glu,
        lambda x: torch.ops.mtt_training.rms_norm(x, weight, 1e-6),
    ):
        (by_rows,) = torch.autograd.grad(function(rows).sum(), rows, create_graph=True)
        torch.autograd.backward(by_rows.sum())
        assert by_rows.shape == rows.grad.shape == (0, 6)
    assert torch.equal(weight.grad, torch.zeros(6))


def test_threads_change_no_bit():
    counts = torch.full((50,), 9)
    first = counts.cumsum(0) - counts
    qkv, factors = numbers(500, 96), torch.rand(450, dtype=DTYPE)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            own = derivatives(
                lambda x, f: torch.ops.mtt_training.attention(x, f, first, counts, 10, 4, 0.3),
                [qkv, factors],
                (0, 1),
            )
            x, weight = qkv.clone().requires_grad_(), numbers(96, seed=3).requires_grad_()
            torch.ops.mtt_training.rms_norm(x, weight, 1e-6).pow(2).sum().backward()
            results.append([own[1], own[2], x.grad, weight.grad])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_numbers_that_are_none_stay_so():
    x = torch.tensor([[1.0, float("nan"), float("nan"), 2.0]])
    assert torch.ops.mtt_training.silu(x).isnan().tolist() == [[False, True, True, False]]
    assert torch.ops.mtt_training.glu(x).isnan().tolist() == [[True, True]]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_run_away_network_has_no_finite_values(instructions, dtype, wrong):
    """Wherever torch's values and gradients are no longer finite, ours are not."""
    counts = torch.tensor([3, 0, 9])
    first = counts.cumsum(0) - counts

    def ours(qkv):
        return torch.ops.mtt_training.attention(qkv, factors, first, counts, 10, 2, 0.3)

    def reference(qkv):
        return plain_attention(qkv, factors, first, counts, 2, 0.3)

    factors = torch.rand(12).to(dtype)
    places = [(row, column) for row in (0, 1, 3, 14) for column in (0, 9, 10, 19, 20, 29)]
    weight = torch.ones(30, dtype=dtype)
    for functions in (
        (ours, reference),
        (torch.ops.mtt_training.silu, torch.nn.functional.silu),
        (torch.ops.mtt_training.glu, torch.nn.functional.glu),
        (
            lambda x: torch.ops.mtt_training.rms_norm(x, weight, 1e-6),
            lambda x: torch.nn.functional.rms_norm(x, (30,), weight, 1e-6),
        ),
    ):
        for place in places:
            x = numbers(15, 30).to(dtype)
            x[place] = wrong
            results = []
            for function in functions:
                values = function(x.requires_grad_())
                results.append([values, *torch.autograd.grad(values.sum(), x)])
            for one, other in zip(*results, strict=True):
                assert not (one.isfinite() & ~other.isfinite()).any()


def test_variable_of_torch_holds_back_instructions():
    code = (
        "from mtt.architectures import kernels; import torch; kernels.missing();"
        "print(torch.ops.mtt_training.instructions())"
    )
    for known in torch.ops.mtt_training.instruction_sets():
        capability = "default" if known == "baseline" else known
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
        command = [sys.executable, "-c", code]
        assert subprocess.check_output(command, env=environment, text=True).strip() == known


def test_third_derivatives_are_refused_not_wrong():
    x = numbers(4, 6).requires_grad_()
    (first,) = torch.autograd.grad(torch.ops.mtt_training.silu(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives"):
        torch.autograd.grad((first**2).sum(), x, create_graph=True)


def test_tensors_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError, match="float32 and float64"):
        torch.ops.mtt_training.silu(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(RuntimeError, match="a token for each atom and each edge"):
        counts = torch.tensor([1])
        torch.ops.mtt_training.attention(numbers(3, 6), numbers(1), counts, counts, 2, 1, 1.0)
    with pytest.raises(RuntimeError, match="a weight for each number"):
        torch.ops.mtt_training.rms_norm(numbers(2, 8), numbers(3), 1e-6)
    for function in (torch.ops.mtt_training.silu, torch.ops.mtt_training.glu):
        with pytest.raises(RuntimeError, match="no empty rows"):
            function(numbers(2, 0))


@pytest.mark.parametrize(
    ("first", "counts", "width", "what"),
    [
        ([0, 2], [2, 3], 3, "atom 1 has more edges than width says"),
        ([0, 2], [2, -3], 4, "atom 1 has more edges than width says"),
        ([3, 0], [2, 3], 4, "edges are not sorted by their atoms: see atom 0"),
        ([0, 1], [2, 3], 4, "edges are not sorted by their atoms: see atom 1"),
        ([0, 2], [2, 2], 4, "atoms have 4 edges, but there are 5"),
        ([0], [2, 3], 4, "a place of edges and a number of edges is expected for each atom"),
    ],
)
def test_places_that_leave_the_tensors_are_refused(first, counts, width, what):
    places = torch.tensor(first), torch.tensor(counts)
    with pytest.raises(RuntimeError, match=what):
        torch.ops.mtt_training.attention(numbers(7, 6), numbers(5), *places, width, 1, 1.0)


def test_they_are_used_where_they_fit_and_nowhere_else():
    cpu = torch.device("cpu")
    seen = []
    assert not kernels.in_use()
    with kernels.kernels(cpu, torch.float32):
        assert kernels.in_use()
        thread = threading.Thread(target=lambda: seen.append(kernels.in_use()))
        thread.start()
        thread.join()
        with kernels.kernels(cpu, torch.bfloat16):
            assert not kernels.in_use()
        with kernels.kernels(torch.device("cuda"), torch.float32):
            assert not kernels.in_use()
        assert kernels.in_use()
    assert not kernels.in_use() and seen == [False]


def ragged_graph(counts: list[int]) -> Graph:
    """Atoms on a line, each with some of the others as neighbors, and their reverse where there is one."""
    random = np.random.default_rng(0)
    n_atoms = len(counts)
    pairs = [(i, (i + 1 + k) % n_atoms) for i, count in enumerate(counts) for k in range(count)]
    places = {pair: place for place, pair in enumerate(pairs)}
    positions = torch.tensor(random.normal(size=(n_atoms, 3)), dtype=DTYPE)
    centers = torch.tensor([i for i, _ in pairs])
    neighbors = torch.tensor([j for _, j in pairs])
    return Graph(
        species=torch.arange(n_atoms) % 2,
        system=torch.arange(n_atoms) // (n_atoms // 2),
        n_systems=2,
        centers=centers,
        neighbors=neighbors,
        vectors=positions[neighbors] - positions[centers],
        reverse=torch.tensor([places.get((j, i), -1) for i, j in pairs]),
        positions=positions,
        cells=torch.zeros(2, 3, 3, dtype=DTYPE),
    )


def loss_and_gradients(core: Core, graph: Graph, target: Target) -> list[torch.Tensor]:
    values = evaluate(core, graph, [target], create_graph=True)["energy"]
    loss = (values.systems**2).sum() + (values.forces**2).sum() + (values.strain**2).sum()
    gradients = torch.autograd.grad(
        loss, list(core.parameters()), materialize_grads=True, allow_unused=True
    )
    return [values.systems.detach(), values.forces.detach(), loss.detach(), *gradients]


@pytest.mark.parametrize(
    "hypers",
    [
        {},
        {"featurizer_type": "residual", "num_heads": 1},
        {"transformer_type": "PostLN", "activation": "SiLU"},
        {"normalization": "LayerNorm", "num_radial": 0, "cutoff_function": "Polynomial"},
        {"num_gnn_layers": 3, "system_conditioning": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("counts", [[3, 5, 0, 7, 1, 6, 2, 4], [5] * 8], ids=["ragged", "dense"])
def test_a_network_has_the_same_loss_and_gradients(hypers, counts):
    architecture = architecture_registry.get("pet")
    small = {"d_pet": 16, "d_node": 24, "d_head": 16, "d_feedforward": 24, "num_heads": 2}
    target = Target("energy", "energy", "eV")
    hypers = architecture.ModelHypers(**(small | hypers))
    core = new_core(architecture, hypers, [1, 6], [target], [0]).to(DTYPE)
    graph = ragged_graph(counts)
    plain = loss_and_gradients(core, graph, target)
    with kernels.kernels(torch.device("cpu"), DTYPE):
        ours = loss_and_gradients(core, graph, target)
    for one, other in zip(ours, plain, strict=True):
        assert (one - other).abs().max() <= 1e-12 * (1e-3 + other.abs().max())
