"""JSON that hashes are made of."""

import math

import pytest

from mtt.canonical import canonical_json, json_or_none


def test_bytes_that_hashes_depend_on() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": 1e-7}}
    assert canonical_json(value) == '{"a":{"\\u00e9":1e-07},"b":[1,2.5,null,true]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(math.nan)


def test_what_others_wrote() -> None:
    assert json_or_none(b'{"a": [1]}') == {"a": [1]}
    assert json_or_none("{") is None
    assert json_or_none(b"\xff") is None
    assert json_or_none("[" * 100_000) is None
