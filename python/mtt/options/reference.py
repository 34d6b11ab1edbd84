"""Writes the reference page and the JSON schemas from the option models.

Run as ``python -m mtt.options.reference docs/reference`` after a change of the options.
"""

import copy
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mtt import architecture_registry
from mtt.options.foreign import metatrain_page
from mtt.options.schema.metadata import Metadata
from mtt.options.schema.options import options_class
from mtt.options.schema.short_forms import SHORT_FORMS, ShortForm, described

Schema = dict[str, Any]

_PAGE = "options.md"
_INTRODUCTION = """\
# Options

<!-- Generated from the option models by `python -m mtt.options.reference docs/reference`. -->

The options of `mtt train` are YAML. Unknown names, wrong types and missing files are errors, all
shown at once, each at its line. Relative paths start from the folder that mtt is run in. Any
option can be set over the file: `mtt train options.yaml -r architecture.training.batch_size=4`.

The shortest useful file is

```yaml
architecture: pet
training_set: ethanol.xyz
```

The options of `mtt eval` are one dataset, as in `training_set`, or a list of them; those of
`mtt export --metadata` are described under [Metadata](#metadata).

Options of metatrain and MACE have [a page of their own](../how-to/options-from-elsewhere.md), and
those of metatrain [a table](options-of-metatrain.md).

Editors that know JSON schemas complete and check options files with this first line:

```yaml
# yaml-language-server: $schema=PATH/options-pet.schema.json
```
"""
_FORMATS = {"path": "path", "mtt-duration": "duration", "mtt-interval": "steps or duration"}
_NULL: Schema = {"type": "null"}


# The first one is described whole, of the others the model.
_ARCHITECTURES = ("pet", "composition", "soap_bpnn", "mace")
_OF_MODEL = {
    "composition": {"ModelHypers": "architecture.model of composition"},
    "soap_bpnn": {
        "ModelHypers": "architecture.model of soap_bpnn",
        "SoapOptions": "architecture.model.soap of soap_bpnn",
        "CutoffOptions": "architecture.model.soap.cutoff of soap_bpnn",
        "BpnnOptions": "architecture.model.bpnn of soap_bpnn",
        "LongRangeOptions": "architecture.model.long_range of soap_bpnn",
    },
    "mace": {"ModelHypers": "architecture.model of mace"},
}


def render() -> dict[str, str]:
    """The generated files, as name -> text."""
    metadata = Metadata.model_json_schema()
    pages: list[str] = []
    files: dict[str, str] = {}
    for architecture in _ARCHITECTURES:
        schema = _with_short_forms_described(options_class(architecture).model_json_schema())
        editor = _for_editors(schema, architecture_registry.get(architecture).name)
        files[f"options-{architecture}.schema.json"] = json.dumps(editor, indent=2) + "\n"
        if architecture in _OF_MODEL:
            titles = _OF_MODEL[architecture]
            pages += [_section(titles[name], schema["$defs"][name], titles) for name in titles]
        else:
            pages.append(_page(schema, metadata, architecture))
    return {_PAGE: "\n".join(pages), metatrain_page.NAME: metatrain_page.render(), **files}


def _page(schema: Schema, metadata: Schema, architecture: str) -> str:
    titles = {
        "Options": "Top level",
        "ArchitectureOptions": "architecture",
        "ModelHypers": f"architecture.model of {architecture}",
        "LongRangeOptions": "architecture.model.long_range",
        "TrainingHypers": "architecture.training",
        "FineTuneOptions": "architecture.training.fine_tune",
        "UncertaintyOptions": "architecture.training.uncertainty",
        "LossOptions": "architecture.training.loss",
        "TargetLossOptions": "architecture.training.loss.targets",
        "PartLossOptions": "architecture.training.loss: forces and stress",
        "ShiftOptions": "architecture.training.loss.targets: shift",
        "DatasetOptions": "Dataset",
        "SystemsOptions": "Dataset: systems",
        "TargetOptions": "Dataset: target",
        "IrrepOptions": "Dataset: irreps of a target",
        "GradientOptions": "Dataset: forces, stress and virial",
        "WeightOptions": "Dataset: weights",
        "ExtraDataOptions": "Dataset: extra_data",
        "InputOptions": "Dataset: charge and spin_multiplicity of extra_data",
        "SplitOptions": "validation_set and test_set",
        "Metadata": "Metadata",
        "References": "Metadata: references",
    }
    models = {"Options": schema, **schema["$defs"], "Metadata": metadata, **metadata["$defs"]}
    sections = [_section(titles[name], models[name], titles) for name in titles]
    return "\n".join([_INTRODUCTION, *sections])


def _section(title: str, model: Schema, titles: dict[str, str]) -> str:
    lines = [f"## {title}", "", _one_line(model["description"]), ""]
    lines += ["| option | type | default | |", "|---|---|---|---|"]
    for name, field in model["properties"].items():
        required = name in model.get("required", [])
        default = "required" if required else _default(field)
        text = _one_line(field.get("description", ""))
        cells = [f"`{name}`", _type(field, titles), default, text]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _default(field: Schema) -> str:
    empty: dict[str, Any] = {"array": [], "object": {}}
    if "default" not in field and field.get("type") not in empty:
        return "see there"
    value = field.get("default", empty.get(field.get("type", "")))
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
    return f"`{json.dumps(value)}`"


def _type(field: Schema, titles: dict[str, str]) -> str:
    """A JSON schema in words."""
    if "$ref" in field:
        title = titles[field["$ref"].rpartition("/")[2]]
        return f"[{title}](#{_anchor(title)})"
    if "enum" in field or "const" in field:
        choices = field.get("enum", [field.get("const")])
        return ", ".join(f"`{json.dumps(choice).strip(chr(34))}`" for choice in choices)
    for union in ("anyOf", "oneOf", "allOf"):
        if union in field:
            return " or ".join(dict.fromkeys(_type(member, titles) for member in field[union]))
    kind = field.get("type")
    if kind == "array":
        return f"list of {_type(field['items'], titles)}"
    if kind == "object":
        value = _type(field["additionalProperties"], titles)
        return f"mapping to ({value})" if " or " in value else f"mapping to {value}"
    if kind == "string":
        return _FORMATS.get(field.get("format", ""), "slice" if "pattern" in field else "text")
    names = {"boolean": "on/off", "null": "null", "integer": "integer", "number": "number"}
    return names[str(kind)] + "".join(_limits(field))


def _anchor(title: str) -> str:
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.replace(" ", "-")


def _limits(field: Schema) -> Iterator[str]:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    for key, sign in signs.items():
        if key in field and abs(field[key]) < 2**32:
            yield f" {sign} {field[key]:g}"


def _with_short_forms_described(schema: Schema) -> Schema:
    for name, model in schema["$defs"].items():
        if name in SHORT_FORMS:
            model["description"] = f"{model['description']} {described(SHORT_FORMS[name])}"
    return schema


def _for_editors(schema: Schema, architecture: str) -> Schema:
    """Return the schema with all short forms, so that an editor accepts what mtt accepts."""
    full = copy.deepcopy(schema)
    models = full["$defs"]
    models["ArchitectureOptions"]["properties"]["name"]["const"] = architecture
    models["GradientOptions"].pop("required", None)
    short = {
        name: _unique(member for form in SHORT_FORMS[name] for member in _members(form, name, full))
        for name in SHORT_FORMS
    }
    for model in (full, *models.values()):
        for name, field in model["properties"].items():
            model["properties"][name] = _widened(field, short)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **full}


def _members(form: ShortForm, model: str, schema: Schema) -> list[Schema]:
    """Return the types of the values of a short form: those of the option that it stands for."""
    constants = {"`null`": _NULL, "`on`": {"const": True}, "`off`": {"const": False}}
    if form.values in constants:
        return [constants[form.values]]
    field: Schema = {"$ref": f"#/$defs/{model}"}
    for key in form.stands_for.split("."):
        field = schema["$defs"][field["$ref"].rpartition("/")[2]]["properties"][key]
    left_out = ("description", "default", "title")
    field = {key: value for key, value in field.items() if key not in left_out}
    return [member for member in field.get("anyOf", [field]) if member != _NULL]


def _widened(field: Schema, short: dict[str, list[Schema]]) -> Schema:
    """Return the type of an option with the short forms of all models in it."""
    kept: Schema = {key: field[key] for key in ("description", "default") if key in field}
    bare: Schema = {key: value for key, value in field.items() if key not in kept}
    model = field.get("$ref", "").rpartition("/")[2]
    if model in short:
        return {**_any(bare, *(_widened(member, short) for member in short[model])), **kept}
    wide = dict(field)
    for union in ("anyOf", "oneOf"):
        if union in field:
            # Not oneOf: what a short form takes may be a member already.
            wide |= _any(*(_widened(member, short) for member in wide.pop(union)))
    if isinstance(field.get("additionalProperties"), dict):
        wide["additionalProperties"] = _widened(field["additionalProperties"], short)
    if field.get("type") == "array":
        wide["items"] = _widened(field["items"], short)
        if "anyOf" in wide["items"]:  # a single entry is short for a list of it
            several = {key: value for key, value in wide.items() if key not in kept}
            return {**_any(wide["items"], several), **kept}
    return wide


def _any(*members: Schema) -> Schema:
    """Return a union; unions in it stand there member by member."""
    flat: list[Schema] = []
    for member in members:
        flat += member["anyOf"] if set(member) == {"anyOf"} else [member]
    return {"anyOf": _unique(flat)}


def _unique(members: Iterable[Schema]) -> list[Schema]:
    kept: list[Schema] = []
    for member in members:
        if member not in kept:
            kept.append(member)
    return kept


def main(folder: Path) -> None:
    """Write the generated files to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
