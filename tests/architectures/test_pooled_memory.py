"""Memory of tensors in a training: kept in huge pages, whole whatever is freed in whatever order, given back."""

import gc
import threading

import pytest
import torch

from mtt.architectures import kernels

CPU = torch.device("cpu")
HUGE_PAGE = 2**21


@pytest.fixture(autouse=True)
def loaded():
    assert kernels.missing() is None


def held() -> int:
    gc.collect()
    return torch.ops.mtt_training.pool_bytes()


def filled(size: int, value: int) -> torch.Tensor:
    return torch.full((size,), value, dtype=torch.int32)


def test_tensors_never_overlap_and_all_is_given_back():
    random = torch.Generator().manual_seed(0)
    before = held()
    with kernels.pooled_memory(CPU):
        kept: dict[int, torch.Tensor] = {}
        for value in range(800):
            # From less than what the pool takes to more than a segment of it.
            size = int(2 ** (23.5 * torch.rand((), generator=random).item() ** 2))
            kept[value] = filled(size, value)
            assert kept[value].data_ptr() % 64 == 0
            if len(kept) > 40:
                freed = list(kept)[int(torch.randint(len(kept), (), generator=random))]
                tensor = kept.pop(freed)
                assert (tensor == freed).all()
        assert all((tensor == value).all() for value, tensor in kept.items())
        assert held() > before
        kept.clear()
        del tensor
    assert held() == before


def test_memory_is_kept_for_the_next_tensor_of_any_size():
    with kernels.pooled_memory(CPU):
        before = held()
        for _ in range(5):
            parts = [filled(2**20, value) for value in range(32)]  # 128 MiB
            assert held() >= 2**27
            most = held()
            # Neighbors are joined: one that is larger than all parts fits where they were.
            del parts
            one = filled(7 * 2**20, 0)
            assert held() == most
            del one
        # What fits in no free block is made after the free ones are given back.
        large = filled(2**25 + 1, 0)
        assert held() < before + 2**27 + 3 * HUGE_PAGE
        del large


def test_a_tensor_outlives_the_pool():
    with kernels.pooled_memory(CPU):
        tensor = filled(
            2**23 + 1, 7
        )  # larger than a segment, which it therefore shares with no other one
    with_it = held()
    assert with_it >= tensor.nbytes
    assert (tensor == 7).all()
    after = filled(2**23 + 1, 8)
    assert held() == with_it
    assert (tensor == 7).all() and (after == 8).all()
    del tensor
    assert held() <= with_it - 4 * (2**23 + 1)


def test_several_threads():
    wrong: list[int] = []

    def work(number: int) -> None:
        for round_ in range(300):
            tensors = [filled(2000 * (1 + i), number) for i in range(8)]
            if not all((tensor == number).all() for tensor in tensors[round_ % 8 :]):
                wrong.append(number)

    with kernels.pooled_memory(CPU):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_nothing_is_pooled_for_other_devices():
    before = held()
    with kernels.pooled_memory(torch.device("cuda")):
        tensor = filled(2**22, 1)
        assert held() == before
    del tensor
