"""Reports for tests of their writers: a plain one, and one whose every text is hostile."""

from typing import Any

from mtt.verify.report import Report

# Use, engine, title, and whether the exit code judges it.
USES = [
    ("ase", "ase", "ASE", True),
    ("lammps:ranks=1", "lammps", "LAMMPS on one rank", True),
    ("lammps:ranks=several", "lammps", "LAMMPS on several ranks", True),
    ("plumed", "plumed", "PLUMED", False),
]
EVERYBODY = [use[0] for use in USES]
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


def finding(place: int, failed: dict[str, Any]) -> dict[str, Any]:
    """The finding of one failure, or of one that is expected."""
    return {
        "cause": failed["message"],
        "brief": "something is wrong",
        "severity": failed["severity"],
        "target": failed.get("target", ""),
        "uses": failed["matters"],
        "unless": failed.get("unless", ""),
        "systems": failed.get("failing", []),
        "checks": [f"{failed['family']}/{failed['name']}"],
        "entries": [place],
        "waived": failed["status"] == "waived",
        "reason": failed.get("waived_because", ""),
    }


def verdict(
    use: tuple[str, str, str, bool], checks: list[dict[str, Any]], findings: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a use can expect, from the failures that matter to it."""
    name, engine, title, judged = use
    rows = [k for k, row in enumerate(findings) if name in row["uses"]]
    bad = [
        findings[k]
        for k in rows
        if not findings[k]["waived"] and findings[k]["severity"] not in ("costs", "cosmetic")
    ]
    always = [row for row in bad if not row["unless"]]
    answer, reason = "yes", ""
    if always:
        answer, reason = "no", always[0]["brief"]
    elif bad:
        answer, reason = "unless", bad[0]["unless"]
    known = {"use": name, "engine": engine, "title": title, "judged": judged}
    return {**known, "answer": answer, "reason": reason, "findings": rows}


def content(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole report with these entries, and findings and verdicts that fit them."""
    common = {"severity": "wrong numbers", "matters": EVERYBODY}
    entries = [
        {**common, **entry} if entry["status"] == "fail" or "waived_because" in entry else entry
        for entry in checks
    ]
    findings = [finding(k, entry) for k, entry in enumerate(entries) if "severity" in entry]
    verdicts = [verdict(use, entries, findings) for use in USES]
    judged = [row for row in verdicts if row["judged"]]
    return {
        "schema": 3,
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
        "for": [row["use"] for row in judged],
        "verdicts": verdicts,
        "findings": findings,
        "only": [],
        "waivers": [],
        "allowed_operators": [],
        "isolation": {
            "process": True,
            "processes": 1,
            "time_limit_s": 60.0,
            "memory_limit_bytes": 2**32,
            "network": "none",
            "filesystem": "read only",
            "notes": [],
        },
        "checks": entries,
        "coverage": {"checks_run": 1, "checks_total": 60, "systems": ["water"], "calls": 12},
        "peak_memory_bytes": 2**28,
        "verdict": "pass" if all(row["answer"] == "yes" for row in judged) else "fail",
        "seconds": 1.5,
        **changes,
    }


def of_schema_2(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A report as it was before there were verdicts for each engine."""
    old = content(*checks, **changes)
    for key in ("for", "verdicts", "findings"):
        del old[key]
    entries = [
        {key: value for key, value in entry.items() if key not in ("severity", "matters")}
        for entry in old["checks"]
    ]
    failed = any(entry["status"] == "fail" for entry in entries)
    verdict = "fail" if failed else "pass"
    return {**old, "schema": 2, "engine": "all", "checks": entries, "verdict": verdict, **changes}


def waiver(**changes: Any) -> dict[str, Any]:
    """A failure that is expected."""
    return {
        "check": "GEO/periodicity",
        "reason": "no slabs here",
        "runs": True,
        "message": "slabs",
        "system": "slab",
        "engines": [],
        "used": True,
        "tried": True,
        "worst": 0.5,
        **changes,
    }


def several() -> Report:
    """A failure on several ranks, one for slabs, one nobody judges, an expected one, and a needless waiver."""
    ranks = ["lammps:ranks=several"]
    return plain(
        check(),
        check("DD", "energy", status="fail", message="domains differ", matters=ranks, measured=3.0),
        check("GEO", "empty system", status="fail", message="needs atoms", matters=["plumed"]),
        check(
            "GEO",
            "cells",
            status="fail",
            message="fails for slabs (pbc TTF), other cells pass",
            matters=["ase"],
            unless="slabs (pbc TTF)",
            failing=["slab"],
            severity="stops",
            details="Traceback of TorchScript\n  serialized code, line 3",
        ),
        check("LIMITS", "time per call", status="fail", message="slower", severity="costs"),
        check(
            "GEO",
            "periodicity",
            status="waived",
            message="slabs are wrong",
            waived_because="no slabs here",
        ),
        waivers=[
            waiver(),
            waiver(check="SYM/rotation", used=False, reason="by construction"),
            {"check": "DTYPE", "reason": "no GPU", "runs": False},
        ],
        waivers_file="mtt-verify.yaml",
    )


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
