"""Writes the reference page and the JSON schemas from the option models.

Run as ``python -m mtt.options.reference docs/reference`` after a change of the options.
"""

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtt import plugins
from mtt.options.schema.metadata import Metadata
from mtt.options.schema.options import options_class

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

Editors that know JSON schemas complete and check options files with this first line:

```yaml
# yaml-language-server: $schema=PATH/options-pet.schema.json
```
"""
_FORMATS = {"path": "path", "mtt-duration": "duration", "mtt-interval": "steps or duration"}
_INTEGERS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}


def render(architecture: str = "pet") -> dict[str, str]:
    """The generated files, as name -> text, for one architecture."""
    schema = options_class(architecture).model_json_schema()
    metadata = Metadata.model_json_schema()
    editor = _for_editors(schema, plugins.get(architecture).name)
    return {
        _PAGE: _page(schema, metadata, architecture),
        f"options-{architecture}.schema.json": json.dumps(editor, indent=2) + "\n",
    }


def _page(schema: Schema, metadata: Schema, architecture: str) -> str:
    titles = {
        "Options": "Top level",
        "ArchitectureOptions": "architecture",
        "ModelHypers": f"architecture.model of {architecture}",
        "TrainingHypers": "architecture.training",
        "FineTuneOptions": "architecture.training.fine_tune",
        "LossOptions": "architecture.training.loss",
        "TargetLossOptions": "architecture.training.loss.targets",
        "DatasetOptions": "Dataset",
        "SystemsOptions": "Dataset: systems",
        "TargetOptions": "Dataset: target",
        "GradientOptions": "Dataset: forces, stress and virial",
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


def _for_editors(schema: Schema, architecture: str) -> Schema:
    """The schema with all short forms, so that an editor accepts what mtt accepts."""
    full = copy.deepcopy(schema)
    models = full["$defs"]
    text: Schema = {"type": "string"}
    dataset = {"$ref": "#/$defs/DatasetOptions"}
    datasets = _any(dataset, text, {"type": "array", "items": _any(dataset, text), "minItems": 1})
    split = _any(
        {"$ref": "#/$defs/SplitOptions"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        {"type": "null"},
        _INTEGERS,
        datasets,
    )
    _replace(full, "training_set", datasets)
    _replace(full, "validation_set", split)
    _replace(full, "test_set", split)
    _widen(full, "architecture", {"const": architecture})
    models["ArchitectureOptions"]["properties"]["name"]["const"] = architecture
    for name in ("model", "training"):
        _widen(models["ArchitectureOptions"], name, {"type": "null"})
    loss_types = models["LossOptions"]["properties"]["type"]["enum"]
    _widen(models["TrainingHypers"], "loss", {"enum": loss_types})
    _widen(models["TrainingHypers"], "fine_tune", {"type": ["boolean", "string"]})
    _widen(models["DatasetOptions"], "systems", text)
    targets = models["DatasetOptions"]["properties"]["targets"]
    targets["additionalProperties"] = _any(targets["additionalProperties"], text, {"type": "null"})
    for name in ("forces", "stress", "virial"):
        _widen(models["TargetOptions"], name, {"type": ["boolean", "string"]})
    models["GradientOptions"].pop("required", None)
    _replace(models["SplitOptions"], "datasets", _any(datasets, {"type": "null"}))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **full}


def _any(*members: Schema) -> Schema:
    return {"anyOf": list(members)}


def _replace(model: Schema, name: str, type_: Schema) -> None:
    field = model["properties"][name]
    kept = {key: field[key] for key in ("description", "default") if key in field}
    model["properties"][name] = {**type_, **kept}


def _widen(model: Schema, name: str, *more: Schema) -> None:
    field = model["properties"][name]
    kept = {key: value for key, value in field.items() if key not in ("description", "default")}
    _replace(model, name, _any(kept, *more))


def main(folder: Path) -> None:
    """Write the generated files to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
