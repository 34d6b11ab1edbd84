"""JSON that hashes are made of."""

import math

import pytest

from mtt.canonical import canonical_json


def test_bytes_that_hashes_depend_on() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": 1e-7}}
    assert canonical_json(value) == '{"a":{"\\u00e9":1e-07},"b":[1,2.5,null,true]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(math.nan)
