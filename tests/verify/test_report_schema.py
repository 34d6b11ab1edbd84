"""The published schema of the report: real reports of the real program keep it, and changed ones do not."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_models import export_toy
from verification_reports import hostile, mixed, plain, several

import mtt
from mtt.errors import UserError
from mtt.verify import run as stage

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "verify-report.schema.json"
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
UNDERSTOOD = {
    *("$schema", "title", "description", "type", "properties", "required", "items", "enum"),
    *("const", "minimum", "additionalProperties"),
}


def violations(value: Any, schema: dict[str, Any], where: str = "report") -> Iterator[str]:
    """What of ``value`` does not keep the schema, which uses few of JSON schema's words."""
    assert set(schema) <= UNDERSTOOD
    if "const" in schema and value != schema["const"]:
        yield f"{where} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is not one of {schema['enum']}"
    if "type" in schema:
        allowed = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is(value, name) for name in allowed):
            yield f"{where} is no {' or '.join(allowed)}"
            return
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{where} is below {schema['minimum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                yield f"{where} has no {name}"
        for name, part in value.items():
            if name in known:
                yield from violations(part, known[name], f"{where}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{where} has an unknown {name}"
    if isinstance(value, list):
        for k, part in enumerate(value):
            yield from violations(part, schema.get("items", {}), f"{where}[{k}]")


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        stage.program()
    except UserError as error:
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("schema")


def sound(folder: Path) -> Path:
    return export_toy(folder / "sound.pt", "pair")


def without_golden_pack(folder: Path) -> Path:
    return export_toy(folder / "foreign.pt", "embedded", "float32", golden=False)


def no_model(folder: Path) -> Path:
    path = folder / "text.pt"
    path.write_text("no model")
    return path


def missing_extension(folder: Path) -> Path:
    declared = '[{"name": "fast", "path": "lib/libfast.so"}]'
    return export_toy(folder / "extension.pt", "pair", records={"extensions": declared})


@pytest.mark.parametrize("make", [sound, without_golden_pack, no_model, missing_extension])
def test_real_reports_keep_the_schema(
    schema: dict[str, Any], folder: Path, make: Callable[[Path], Path]
) -> None:
    only = ["LOAD", "SCHEMA", "PARITY", "FD"]
    report = mtt.verify(make(folder), only=only, skip={"FD/virial": "no barostat"})
    assert list(violations(json.loads(report.text), schema)) == []
    assert report.schema == 3


def test_reports_of_runs_against_a_reference_keep_it(schema: dict[str, Any], folder: Path) -> None:
    model = without_golden_pack(folder)
    mtt.verify(model, only=["PARITY"], record=folder / "reference.json")
    report = mtt.verify(model, only=["PARITY"], against=folder / "reference.json")
    content = json.loads(report.text)
    assert list(violations(content, schema)) == []
    assert any(check.get("series") for check in content["checks"])


def test_crashes_are_reported_in_the_same_schema(
    schema: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mtt-verify"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("MTT_VERIFY", str(program))
    report = mtt.verify(tmp_path / "model.pt")
    assert not report.passed
    assert list(violations(json.loads(report.text), schema)) == []


def test_reports_of_the_tests_keep_it(schema: dict[str, Any]) -> None:
    for report in (plain(), mixed(), several()):
        assert list(violations(json.loads(report.text), schema)) == []
    assert list(violations(json.loads(hostile().text), schema)) != []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=1), "report.schema is not 3"),
        (lambda d: d.pop("verdict"), "report has no verdict"),
        (lambda d: d.update(level="fast"), "report.level is not one of ['quick', 'full', 'soak']"),
        (
            lambda d: d["checks"][0].update(measured="1"),
            "report.checks[0].measured is no number or null",
        ),
        (lambda d: d["checks"][0].update(more=1), "report.checks[0] has an unknown more"),
        (
            lambda d: d["findings"][0].update(severity="bad"),
            "report.findings[0].severity is not one of ['wrong numbers', 'stops', 'refuses', 'costs', "
            "'cosmetic']",
        ),
        (
            lambda d: d["verdicts"][0].update(answer="maybe"),
            "report.verdicts[0].answer is not one of ['yes', 'unless', 'no', 'untried']",
        ),
        (lambda d: d["file"].update(bytes=-1), "report.file.bytes is below 0"),
        (lambda d: d.update(golden_pack=0), "report.golden_pack is no boolean"),
    ],
)
def test_changed_reports_do_not(
    schema: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = copy.deepcopy(json.loads(mixed().text))
    change(content)
    assert list(violations(content, schema)) == [message]
