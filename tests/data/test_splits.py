"""Splits: disjoint, complete, repeatable, and never silently empty."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtt.data.splits import resolve_indices, split
from mtt.errors import UserError


def message(*arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        split(*arguments)
    return str(caught.value)


@given(st.integers(10, 300), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 2**63 - 1))
def test_every_structure_is_in_one_set(n: int, validation: float, test: float, seed: int) -> None:
    found = split(n, validation, test, seed)
    together = np.concatenate([found.train, found.validation, found.test])
    assert sorted(together) == list(range(n))
    assert abs(len(found.validation) - n * validation) <= 0.5 + 1e-9
    assert all(np.array_equal(one, np.sort(one)) for one in (found.train, found.test))


VALIDATION = [3, 5, 9, 14]
TEST = [1, 4]


def test_the_seed_decides() -> None:
    # Written out: another release of numpy or of mtt must not shuffle old runs.
    assert split(20, 0.2, 0.1, 7).validation.tolist() == VALIDATION
    assert split(20, 0.2, 0.1, 7).test.tolist() == TEST
    assert split(20, 0.2, 0.1, 8).validation.tolist() != VALIDATION


def test_indices_and_fractions_together() -> None:
    found = split(10, [9, 2], 0.3, 0)
    assert found.validation.tolist() == [2, 9]
    assert len(found.test) == 3 and not set(found.test) & {2, 9}
    found = split(10, "0:3", "7:", 0)
    assert found.validation.tolist() == [0, 1, 2]
    assert found.test.tolist() == [7, 8, 9]
    assert found.train.tolist() == [3, 4, 5, 6]
    assert split(3, None, None, 0).train.tolist() == [0, 1, 2]
    assert split(3, 0.4, 0.0, 0).test.tolist() == []


def test_mistakes() -> None:
    assert message(10, [1, 2], [2, 3], 0) == (
        "index 2 is in both the validation and the test set\n"
        "  where: validation_set and test_set\n"
        "  hint: a structure can be in one set only"
    )
    assert message(10, [10], 0.0, 0) == (
        "index 10 is out of range: there are 10 structures\n  where: validation_set\n"
        "  hint: indices count from 0, so use 0 to 9"
    )
    assert message(10, 0.1, [4, 4], 0) == "index 4 is given more than once\n  where: test_set"
    assert message(10, 0.01, 0.0, 0) == (
        "the fraction 0.01 of 10 structures leaves the set empty\n  where: validation_set\n"
        "  hint: use at least 0.1, or add structures"
    )
    assert message(10, 1.5, 0.0, 0) == (
        "the fraction 1.5 is not between 0 and 1\n  where: validation_set\n  hint: for example 0.1"
    )
    assert message(10, 0.5, 0.5, 0) == (
        "no structures are left to train on: validation and test sets take 10 of 10\n"
        "  where: training_set\n"
        "  hint: use smaller fractions or fewer indices, or add structures"
    )
    assert message(3, "3:", 0.0, 0) == (
        "the slice '3:' selects none of the 3 structures\n  where: validation_set"
    )


def test_a_slice_beyond_the_end_is_told(caplog):
    for beyond, expected in (("0:4", [0, 1, 2]), ("-4:", [0, 1, 2]), ("1:100", [1, 2])):
        caplog.clear()
        assert resolve_indices(beyond, 3, "a.xyz").tolist() == expected
        said = f"a.xyz: the slice '{beyond}' goes beyond the end: there are 3 structures"
        assert [record.getMessage() for record in caplog.records] == [said]
    caplog.clear()
    assert resolve_indices("0:3", 3, "a.xyz").tolist() == [0, 1, 2]
    assert not caplog.records


def test_a_fraction_of_one_structure_is_none() -> None:
    with pytest.raises(UserError) as caught:
        split(1, 0, 0.1, 0.0)
    assert "the fraction 0.1 of 1 structure leaves the set empty" in str(caught.value)
    assert "hint: add structures, or name a file of its own" in str(caught.value)
