"""Reports for tests of their writers: a plain one, and one whose every text is hostile."""

from typing import Any

from mtt.verify.report import Report

HOSTILE = "<script>alert('1')</script>]]>&\"\n::error::x\x1b[2J\x00\ud800\u202e%0A{}"


def check(family: str = "PARITY", name: str = "energy", **changes: Any) -> dict[str, Any]:
    """One entry, which passes."""
    return {
        "family": family,
        "name": name,
        "status": "pass",
        "measured": 0.5,
        "tolerance": 1.0,
        "unit": "eV",
        "margin": 2.0,
        "message": "largest difference: energy of water",
        "systems": ["water"],
        "seconds": 0.25,
        "description": "Energies are the same.",
        "tolerance_source": "the table",
        **changes,
    }


def content(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole report with these entries."""
    failed = any(one["status"] == "fail" for one in checks)
    return {
        "schema": 2,
        "program": {
            "name": "mtt-verify",
            "version": "0.1.0",
            "torch": "2.13.0",
            "metatensor_torch": "0.10.8",
            "metatomic_torch": "0.1.19",
        },
        "file": {"path": "model.pt", "sha256": "ab" * 32, "bytes": 12345, "extensions": []},
        "model": {
            "name": "water",
            "dtype": "float32",
            "interaction_range": 5.0,
            "length_unit": "angstrom",
            "energy_unit": "eV",
            "atomic_types": [1, 8],
            "outputs": [{"name": "energy", "unit": "eV", "sample_kind": "atom"}],
            "devices": ["cpu"],
            "requests": [{"cutoff": 5.0, "full_list": True, "strict": True}],
            "receptive_field": None,
        },
        "golden_pack": True,
        "level": "full",
        "engine": "all",
        "only": [],
        "waivers": [],
        "allowed_operators": [],
        "isolation": {
            "process": True,
            "time_limit_s": 60.0,
            "memory_limit_bytes": 2**32,
            "network": "none",
            "filesystem": "read only",
            "notes": [],
        },
        "checks": list(checks),
        "coverage": {"checks_run": 1, "checks_total": 60, "systems": ["water"], "calls": 12},
        "peak_memory_bytes": 2**28,
        "verdict": "fail" if failed else "pass",
        "seconds": 1.5,
        **changes,
    }


def plain(*checks: dict[str, Any], **changes: Any) -> Report:
    """The report with these entries, or with one."""
    return Report.of(content(*(checks or (check(),)), **changes))


def mixed() -> Report:
    """Something of every status, with waiver and series."""
    series = [{"x": 0.1 * k, "y": 0.1 * k + 0.01 * (-1) ** k, "label": "water"} for k in range(5)]
    return plain(
        check(series=series),
        check("FD", "forces", status="fail", measured=3.0, message="forces are wrong"),
        check("FD", "virial", status="skip", measured=None, tolerance=None, message="no cell"),
        check("DD", "energy", status="waived", measured=None, tolerance=None, message="one rank"),
        check("LIMITS", "time", measured=0.0, margin=None),
        waivers=[{"check": "DD", "reason": "one rank"}],
    )


def hostile() -> Report:
    """A failure and a waiver whose names, messages and systems are an attack on whatever shows them."""
    texts = {
        "unit": HOSTILE,
        "message": HOSTILE,
        "systems": [HOSTILE],
        "description": HOSTILE,
        "tolerance_source": HOSTILE,
        "series": [{"x": 1.0, "y": 1.5, "label": HOSTILE}],
    }
    model = {
        key: HOSTILE for key in ("name", "dtype", "length_unit", "energy_unit", "receptive_field")
    }
    lists = {"atomic_types": [HOSTILE], "outputs": [{"name": HOSTILE}, 3], "requests": ["x"]}
    return plain(
        check("PARITY", HOSTILE, status="fail", **texts),
        check(HOSTILE, "x", status="waived", **texts),
        check("FD", HOSTILE, measured=1e300, tolerance=1e-300, **texts),
        model={**model, **lists},
        waivers=[{"check": HOSTILE, "reason": HOSTILE}],
        file={"path": HOSTILE, "extensions": [{"name": HOSTILE, "sha256": HOSTILE}]},
        isolation={"process": True, "network": HOSTILE, "notes": [HOSTILE]},
        coverage={HOSTILE: HOSTILE},
        program={"name": "mtt-verify", "torch": HOSTILE, "version": HOSTILE},
    )
