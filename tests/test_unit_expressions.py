"""Our reading of expressions of units is that of metatomic, which engines read them with."""

import itertools
import re

import metatomic.torch
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtt.unit_expressions import _BY_NAME, NAMES, check_quantity, check_unit, is_unit

BASES = ("m", "s", "kg", "C", "K")
NUMBERS = ("1", "2", "0.5", "-1", "+3", ".25", "1e-3", "1E2", "7.")
ATOMS = st.sampled_from([*NAMES, *(name.upper() for name in NAMES if name.isascii()), *NUMBERS])
POWERS = st.sampled_from(["2", "3", "-1", "0.5", "(1/2)", "(-1/3)", "(1*2)", "(2^2/3)"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{}{}{}".format, inner, st.sampled_from(["*", "/", " * ", " / "]), inner),
        st.builds("({})".format, inner),
        st.builds("{}^{}".format, inner, POWERS),
    ),
    max_leaves=6,
)
# What may stand anywhere, in any order.
SOUP = st.lists(
    st.sampled_from([*"*/^() ", "eV", "A", "e", "mol", "parrot", "2", "0", "-1", "µm", "%", "Å"]),
    max_size=9,
).map("".join)


def taken(unit: str) -> bool:
    try:
        # Made of nothing else, so that only reading it can fail.
        metatomic.torch.ModelOutput(unit=unit)
    except (ValueError, RuntimeError):
        return False
    return True


def in_si(dimension: tuple[float, ...]) -> str:
    return "*".join(f"{base}^{power!r}" for base, power in zip(BASES, dimension, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_each_unit_is_as_large_as_metatomic_has_it(name: str) -> None:
    unit = _BY_NAME[name.lower()]
    factor = metatomic.torch.unit_conversion_factor(name, in_si(unit.dimension))
    assert factor == pytest.approx(unit.factor, rel=1e-9)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
@example("eV/A/A^2")
@example("eV^2^3")
@example("-1^2")
def test_what_is_well_formed_is_read_as_metatomic_reads_it(unit: str) -> None:
    if not is_unit(unit):
        # Numbers below zero and out of range are no units, though metatomic may take them.
        with pytest.raises(ValueError, match=r"too large or too small|no number"):
            check_unit(unit)
        return
    dimension = check_unit(unit)
    assert taken(unit)
    metatomic.torch.unit_conversion_factor(unit, in_si(dimension))
    longer = (dimension[0] + 1.0, *dimension[1:])
    with pytest.raises(ValueError, match="mismatch"):
        metatomic.torch.unit_conversion_factor(unit, in_si(longer))


@settings(max_examples=1000, deadline=None)
@given(SOUP)
@example("eV//A")
@example("eV A")
@example("(eV")
@example("eV)")
@example("eV^A")
@example("1/0")
@example("eV**2")
def test_nothing_is_taken_that_metatomic_does_not_take(unit: str) -> None:
    assert not is_unit(unit) or taken(unit)


def test_pairs_of_units_are_all_read() -> None:
    for one, other in itertools.product(("e", "eV", "kJ", "u", "1"), ("A^2", "mol", "ps^-1")):
        for unit in (f"{one}*{other}", f"{one}/{other}", f" ({one}) / ({other}) "):
            assert is_unit(unit)
            assert taken(unit)
    assert is_unit("")
    assert is_unit(" ")
    assert taken(" ")
    assert not taken("parrot")
    assert not taken("eV*")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("states/eV", "unknown unit 'states' in 'states/eV'; a number of states has no unit: write 1"),
        ("parrot", "unknown unit 'parrot'; leave the unit out, or write it with those that engines"),
        ("%", "unknown unit '%'; leave the unit out"),
        ("angstroms", "unknown unit 'angstroms'; did you mean 'angstrom'?"),
        ("debey", "unknown unit 'debey'; did you mean 'Debye'?"),
        ("V/Å", "unknown unit 'V' in 'V/Å'; did you mean 'eV/e'?"),
        ("kbar", "unknown unit 'kbar'; did you mean '0.1*GPa'?"),
        ("kJ mol^-1", "unknown unit 'kJ mol^-1': write * or / between units, as in kJ*mol^-1"),
        ("e Å", "unknown unit 'e Å': write * or / between units"),
        ("e * Å", "unknown unit 'Å' in 'e * Å'; did you mean 'A'?"),
        ("A**3", "unknown unit 'A**3': write powers with ^, as in A^2"),
        ("eV/", "'eV/' is no expression of units: write names or numbers with"),
        ("eV^e", "a power in the unit 'eV^e' is no number"),
        ("eV^200", "the unit 'eV^200' is too large or too small for a number"),
        ("1" * 300, "a unit of 300 characters: at most 200 are read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_write(unit: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
        check_unit(unit)


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [
        ("charge", "e"),
        ("Charges", "C"),
        ("dipole", "Debye"),
        ("dipole moment", "e*bohr"),
        ("quadrupole", "Debye*A"),
        ("polarizability", "bohr^3"),
        ("polarizability", "e^2*bohr^2/Hartree"),
        ("pressure", "GPa"),
        ("stress", "kcal/mol/A^3"),
        ("force", "Hartree/bohr"),
        ("mass", "u"),
        ("velocity", "A/ps"),
        ("momentum", "(eV*u)^(1/2)"),
        ("heat_flux", "eV*A/fs"),
        ("temperature", "K"),
        ("charge", ""),
        ("", "eV"),
        ("gap", "A"),
    ],
)
def test_units_of_a_quantity_are_taken(quantity: str, unit: str) -> None:
    check_quantity(quantity, unit)


@pytest.mark.parametrize(
    ("quantity", "unit", "expected"),
    [
        ("charge", "angstrom", "'angstrom' is no unit of the quantity charge, such as e is:"),
        ("charges", "1", "'1' is no unit of the quantity charges, such as e is:"),
        ("pressure", "eV", "'eV' is no unit of the quantity pressure, such as eV/A^3 is:"),
        ("dipole", "kcal/mol", "'kcal/mol' is no unit of the quantity dipole, such as e*A is:"),
        ("temperature", "eV", "'eV' is no unit of the quantity temperature, such as K is:"),
        ("polarizability", "A^2", "such as A^3 or e^2*A^2/eV is:"),
        ("charge", "parrot", "unknown unit 'parrot'"),
        ("charge", "electrons", "unknown unit 'electrons' of the quantity charge; did you mean 'e'?"),
        ("dipole", "Electron*A", "'Electron' of the quantity dipole; did you mean 'e'?"),
        ("dos", "electrons/eV", "a number of electrons has no unit: write 1"),
    ],
)  # fmt: skip
def test_units_of_another_quantity_are_refused(quantity: str, unit: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        check_quantity(quantity, unit)


@pytest.mark.parametrize(
    "name", ["charge", "mass", "momentum", "velocity", "position", "heat_flux"]
)
def test_quantities_that_metatomic_knows_have_its_dimensions(name: str) -> None:
    wrong = metatomic.torch.ModelOutput(unit="m^7")
    with pytest.raises((ValueError, RuntimeError), match="m\\^7"):
        metatomic.torch.ModelCapabilities(outputs={name: wrong})
    for unit in ("e", "u", "u*A/fs", "A/fs", "A", "eV*A/fs"):
        try:
            metatomic.torch.ModelCapabilities(
                outputs={name: metatomic.torch.ModelOutput(unit=unit)}
            )
        except (ValueError, RuntimeError):
            with pytest.raises(ValueError, match="is no unit of"):
                check_quantity(name, unit)
        else:
            check_quantity(name, unit)
