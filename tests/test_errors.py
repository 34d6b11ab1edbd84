"""Errors as programs see them."""

from mtt.errors import DATA_CHANGED, UserError, VerificationFailed


def test_a_code_is_not_part_of_the_message() -> None:
    error = UserError("other data", "a.xyz", code=DATA_CHANGED)
    assert error.code == "data-changed"
    assert str(error) == "other data\n  where: a.xyz"
    assert UserError("other data").code is None


def test_an_error_passes_between_processes() -> None:
    error = UserError("other data", hint="bring them back", code=DATA_CHANGED)
    again = UserError(**error.parts())
    assert (str(again), again.code) == (str(error), DATA_CHANGED)


def test_other_errors_have_codes_too() -> None:
    error = VerificationFailed("failed: LOAD", code="load")
    assert (str(error), error.code) == ("failed: LOAD", "load")
