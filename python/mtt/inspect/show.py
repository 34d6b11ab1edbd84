"""Descriptions of files for people: one fact a line, in 80 columns.

What comes from a file may be hostile. Every line goes through
:func:`mtt.printable.printable` on its way out, so that nothing in it can steer a terminal.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mtt.printable import printable
from mtt.report.metrics import judged_by, judging_prefix, readable

_WIDTH: Final = 80
_LABEL: Final = 14
_LONGEST: Final = 600
_MOST: Final = 12
_MOST_LINES: Final = 500
# Lines are not broken here, and it is a space when they are printed.
_KEPT: Final = "\u00a0"
Description = Mapping[str, Any]
Fact = tuple[str, str]


def text(description: Description) -> str:
    """A checkpoint or a model file, as described by :mod:`mtt.inspect.describe`."""
    described, name = {
        "checkpoint": (_checkpoint, "checkpoint"),
        "model": (_model, "model file"),
    }.get(description["kind"], (_foreign, str(description.get("what"))))
    lines = [f"{description['path']}: {name}, {size(description['size'])}"]
    for label, fact in described(description):
        lines += _wrapped(label, fact)
    return _printed(lines)


def difference(compared: Description) -> str:
    """What :func:`mtt.inspect.describe.compare` found."""
    name = "checkpoints" if compared["kind"] == "checkpoint" else "model files"
    both = f"{compared['a']} and {compared['b']}"
    if compared["same"]:
        return printable(f"{both} are the same")
    facts = []
    for key, sides in compared["changed"].items():
        facts.append(f"{key}: {' -> '.join(_sides(sides))}")
    kind = "tensors" if "tensors" in compared else "records"
    for group, counts in sorted(compared[kind].items()):
        sentence = _counts(counts)
        facts += [f"{kind} of {group}: {sentence}"] if sentence else []
    lines = [f"{both}: {name} that differ"]
    for fact in facts:
        lines += _broken(fact, "  ", "    ")
    return _printed(lines)


def _printed(lines: list[str]) -> str:
    more = [f"  ... and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join(printable(line) for line in lines[:_MOST_LINES] + more)


def _sides(sides: Mapping[str, Any]) -> list[str]:
    """Both values; numbers with as many digits as are needed to see a difference, six at least."""
    values = [sides[side] for side in ("a", "b") if side in sides]
    if len(values) == 2 and all(isinstance(value, float) for value in values):
        short = [f"{value:.6g}" for value in values]
        if short[0] != short[1]:
            return short
    return [_value(sides[side]) if side in sides else "(none)" for side in ("a", "b")]


def _counts(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    parts = [f"{counts['differ']} of {total} differ in bits"] if counts["differ"] else []
    parts += [f"{counts['only_a']} only in the first file"] if counts["only_a"] else []
    parts += [f"{counts['only_b']} only in the second file"] if counts["only_b"] else []
    return ", ".join(parts)


# ---- checkpoints ----


def _checkpoint(description: Description) -> Iterable[Fact]:
    tensors, position = description["tensors"], description["position"]
    yield "architecture", _architecture(description["architecture"])
    yield "weights", f"{tensors['weights']} in {description['precision']} bits"
    yield "elements", _elements(description["atomic_types"], description["elements"])
    yield from (("target", target_words(*item)) for item in description["targets"].items())
    yield from uncertainty_facts(description)
    if description["states"]:
        charges, spins = (_listed(map(str, known)) for known in description["states"].values())
        yield "needs input", f"charge: {charges}; spin multiplicity: {spins}"
    yield "lengths", str(description["length_unit"])
    batch = f", {position['batch']} batches into the next" if position["batch"] else ""
    yield "epoch", f"{position['epoch']} of {_value(position['num_epochs'])}{batch}"
    yield "step", f"{position['step']} of {position['num_steps']}"
    yield from _history(description)
    yield from _test_errors(description["test_errors"])
    yield (
        "data",
        _listed(
            f"{name} {item['structures']} structures ({_short(item['hash'])})"
            for name, item in description["data"].items()
        ),
    )
    parts = ("train", "validation", "test")
    yield "split", _listed(f"{description['split'][part]} {part}" for part in parts)
    yield "model", _hypers(description["architecture"]["hypers"])
    stored = description["options"].get("architecture")
    yield "training", _hypers(stored.get("training") if isinstance(stored, dict) else None)
    yield "seed", _value(description["options"].get("seed"))
    if description["origin"] is not None:
        yield "origin", _hypers(description["origin"])
    if description["upgraded_from"] is not None:
        yield "upgraded from", _hypers(description["upgraded_from"])
    yield "written by", _packages(description["packages"])
    yield from _conditions(description["conditions"])
    yield "image", _short(description["image_digest"]) if description["image_digest"] else "none"
    yield "format", f"version {description['format_version']}"
    yield "tensors", _tensors(tensors)
    fits = (
        "fits the file" if description["content"]["fits"] else "DOES NOT FIT: the file is damaged"
    )
    yield "content hash", f"{_short(description['content']['hash'])}, {fits}"


def _architecture(description: Description) -> str:
    stated = f"{description['name']}, version {description['version']}"
    if not description["installed"]:
        return f"{stated}, which is not installed here"
    if description["installed_version"] not in (None, description["version"]):
        return f"{stated}; version {description['installed_version']} is installed here"
    return stated


def _elements(types: Sequence[int], symbols: Sequence[str | None]) -> str:
    both = list(zip(types, symbols, strict=True))
    if len(both) <= _MOST:
        return _listed(
            f"{symbol} ({atomic_type})" if symbol else f"type {atomic_type}"
            for atomic_type, symbol in both
        )
    return f"{len(both)}: {' '.join(symbol or str(atomic_type) for atomic_type, symbol in both)}"


def target_words(name: str, target: Any) -> str:
    """Return what a target of a checkpoint is: name, unit, what a value is, and its gradients."""
    described = target if isinstance(target, dict) else {}
    extra = [gradient for gradient in ("forces", "stress") if described.get(gradient)]
    gradients = f", with {' and '.join(extra)}" if extra else ""
    about = f" ({described['description']})" if described.get("description") else ""
    kind = _kind(described)
    atoms = f", {kind or 'a value'} of each atom" if described.get("per") == "atom" else ""
    kind = f", {kind}" if kind and not atoms else ""
    return f"{name} in {described.get('unit') or 'no unit'}{kind}{atoms}{gradients}{about}"


def uncertainty_facts(description: Description) -> Iterable[Fact]:
    """Yield what a checkpoint says of its uncertainties, and of the members of an ensemble."""
    calibrated = judged_by([description["history"]["last"]]) == "validation"
    for record in description["uncertainties"]:
        yield "uncertainty", _uncertainty(record, calibrated)
    if description["seeds"]:
        seeds = ", ".join(map(str, description["seeds"]))
        yield "ensemble", f"{len(description['seeds'])} members, of the seeds {seeds}"


def _uncertainty(record: Mapping[str, Any], calibrated: bool) -> str:
    members = f", with {record['members']} members" if record["members"] else ""
    how = f"its calibration multiplied it by {record['multiplier']:.4g}"
    if not calibrated:
        how = "not calibrated, as there was no validation set"
    return f"of {record['target']} by {record['method']}{members}; {how}"


def _kind(target: dict[str, Any]) -> str:
    """Return what a value is; nothing for a single number."""
    number = target.get("properties", 1)
    count = f"{number} " if number > 1 else "a "
    kind = target.get("type", "scalar")
    if kind == "scalar":
        return f"{number} values" if number > 1 else ""
    if kind == "spherical":
        blocks = ", ".join(
            f"{degree}{'' if parity > 0 else ' (pseudo)'}"
            for degree, parity in target.get("irreps", ())
        )
        return f"{count if number > 1 else ''}spherical of degree {blocks}"
    plural = {"vector": "vectors", "matrix": "matrices"}
    return count + (plural.get(kind, kind) if number > 1 else kind)


def _history(description: Description) -> Iterable[Fact]:
    """Metrics of the best and of the last epoch side by side."""
    history, best = description["history"], description["best"]
    if history["last"] is None:
        yield "metrics", "no epoch has been finished"
        return
    value = "" if best.get("value") is None else f" ({_metric(best['value'], '')})"
    chosen_by = judged_by([history["last"]])
    of = "" if chosen_by == "validation" else " of the training set: there was no validation set"
    yield "best epoch", f"{best['epoch']}, by {best['metric']}{value}{of}"
    columns = [("best", history["best"]), ("last", history["last"])]
    if history["best"] in (None, history["last"]):
        columns = [("last" if history["best"] is None else "best and last", history["last"])]
    prefix = judging_prefix([history["last"]])
    yield prefix.removesuffix("_"), _row("", [title for title, _ in columns])
    for metric in history["last"]:
        if metric.startswith(prefix):
            cells = [_metric(row.get(metric), history["units"][metric]) for _, row in columns]
            name = metric.removeprefix(prefix).replace("_", " ")
            name = name.replace("rmse", "RMSE").replace("mae", "MAE")
            yield "", _row(name, cells)


def _test_errors(rows: Any) -> Iterable[Fact]:
    """Errors of the best weights on the test set, if the file has them."""
    listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if listed:
        yield "test set", _row("", ["RMSE", "MAE"])
    for row in listed[:_MOST]:
        unit = str(row.get("unit"))
        cells = [_metric(row.get(kind), unit) for kind in ("rmse", "mae")]
        yield "", _row(str(row.get("quantity")).replace("_", " "), cells)


def _row(name: str, cells: Sequence[str]) -> str:
    return (f"{name:<22}" + "".join(f"{cell:>20}" for cell in cells)).replace(" ", _KEPT)


def _metric(value: Any, unit: str) -> str:
    good = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
    return readable(value, unit) if good else _value(value)


def _tensors(description: Description) -> str:
    groups = [
        f"{name} {size(group['bytes'])}" for name, group in sorted(description["groups"].items())
    ]
    ratio = description["file_to_bytes"]
    of_file = f"; the file is {ratio:.3g} times that" if isinstance(ratio, float) else ""
    return f"{description['count']} of {size(description['bytes'])}{of_file} ({_listed(groups)})"


# ---- model files ----


def _model(description: Description) -> Iterable[Fact]:
    yield from _metadata(description["metadata"] or {})
    yield from _capabilities(description["capabilities"])
    yield from (("neighbors", _neighbors(entry)) for entry in description["neighbor_lists"] or [])
    for name, value in (description["requested_inputs"] or {}).items():
        yield "needs input", f"{name}{_output(value)}"
    yield from _provenance(description["provenance"])
    if "made_in" in description:
        made = description["made_in"]
        digest = _short(made["digest"]) if made.get("digest") else "digest not checked"
        yield "made in", f"{_value(made.get('image'))} ({digest}): {_value(made.get('why'))}"
    pack = description["golden_pack"]
    if pack is None:
        yield "golden pack", "none: mtt verify has no reference values for it"
    else:
        systems = pack.get("systems") if isinstance(pack.get("systems"), list) else []
        yield "golden pack", f"{len(systems)} systems, {size(pack['bytes'])}: {_listed(systems)}"
        # Whoever changes a model can make a pack that fits it.
        yield "", "it shows damage, and proves nothing about tampering: see mtt show --chain"
    yield "torch", _listed(f"{name} {number}" for name, number in description["versions"].items())
    for label, key in (("extensions", "extensions"), ("libraries", "extensions_deps")):
        values = description[key]
        yield label, _listed(map(_value, values)) if isinstance(values, list) and values else "none"
    groups = sorted(description["records"]["groups"].items())
    records = _listed(f"{name} {size(entry['bytes'])}" for name, entry in groups)
    yield "records", f"{description['records']['count']} ({records})"
    yield "sha256", description["sha256"]


def _metadata(description: Description) -> Iterable[Fact]:
    for key in ("name", "description"):
        if description.get(key):
            yield key, str(description[key])
    if description.get("authors"):
        yield "authors", _value(description["authors"])
    references = description.get("references")
    for kind, listed in references.items() if isinstance(references, dict) else ():
        if listed:
            yield "references", f"{kind}: {_value(listed)}"
    if description.get("extra"):
        yield "extra", _value(description["extra"])


def _capabilities(capabilities: Description | None) -> Iterable[Fact]:
    if capabilities is None:
        yield "capabilities", "could not be read without loading the model"
        return
    outputs = capabilities.get("outputs")
    for name, output in outputs.items() if isinstance(outputs, dict) else ():
        yield "output", f"{name}{_output(output)}"
    if "elements" in capabilities:
        yield "elements", _elements(capabilities["atomic_types"], capabilities["elements"])
    length = capabilities.get("length_unit") or ""
    yield "range", f"{_value(capabilities.get('interaction_range'))} {length}".rstrip()
    yield "precision", _value(capabilities.get("dtype"))
    yield "devices", _value(capabilities.get("supported_devices"))


def _output(output: Any) -> str:
    if not isinstance(output, dict):
        return ""
    kind = f", per {output['sample_kind']}" if output.get("sample_kind") else ""
    about = f" ({output['description']})" if output.get("description") else ""
    gradients = output.get("explicit_gradients")
    extra = f", with gradients to {_value(gradients)}" if gradients else ""
    return f" in {output.get('unit') or 'no unit'}{kind}{extra}{about}"


def _neighbors(request: Description) -> str:
    unit = request.get("length_unit") or ""
    kind = "full" if request.get("full_list") else "half"
    strict = "" if "strict" not in request else ", strict" if request["strict"] else ", not strict"
    return f"within {_value(request.get('cutoff'))} {unit}".rstrip() + f", {kind} list{strict}"


def _provenance(record: Any) -> Iterable[Fact]:
    if not isinstance(record, dict):
        yield "provenance", "none: mtt did not export it"
        return
    of = record.get("architecture")
    if isinstance(of, dict):
        yield "architecture", f"{_value(of.get('name'))}, version {_value(of.get('version'))}"
        yield "model", _hypers(of.get("hypers"))
    checkpoint = record.get("checkpoint")
    content = checkpoint.get("content_hash") if isinstance(checkpoint, dict) else None
    yield "checkpoint", f"content hash {_short(content)}"
    yield "weights", f"{_value(record.get('weights'))}, of epoch {_value(record.get('epoch'))}"
    yield from _test_errors(record.get("test_errors"))
    yield "verification", _value(record.get("verification"))
    yield from _conditions(record.get("conditions"))
    yield "exported by", _packages(record.get("packages"))
    yield "image", _short(record["image_digest"]) if record.get("image_digest") else "none"


def _conditions(parts: Any) -> Iterable[Fact]:
    """What each part of the run was computed with; of the later ones, what had changed."""
    before: dict[str, Any] = {}
    for part in parts if isinstance(parts, list) else ():
        values = part.get("values") if isinstance(part, dict) else None
        if not isinstance(values, dict):
            return
        changed = {key: value for key, value in values.items() if before.get(key) != value}
        where = f"from step {_value(part.get('step'))} on: " if before else ""
        yield "trained with", where + _hypers(changed)
        before = values


# ---- files of other programs ----


def _foreign(description: Description) -> Iterable[Fact]:
    of_metatrain = description["metatrain"]
    if of_metatrain is not None:
        yield from _metatrain(of_metatrain)
    if description["pickled"]:
        yield "read", "its names only: loading a pickle runs whatever code is in it"
    yield "what to do", description["hint"]
    yield "sha256", description["sha256"]


def _metatrain(description: Description) -> Iterable[Fact]:
    architecture = description["architecture"]
    if architecture["name"] is not None:
        number = "" if architecture["version"] is None else f", version {architecture['version']}"
        around = "" if architecture["around"] is None else f", around {architecture['around']}"
        yield "architecture", f"{architecture['name']}{number}{around}"
    if description["elements"] is not None:
        yield "elements", _elements(description["atomic_types"], description["elements"])
    for name, target in (description["targets"] or {}).items():
        yield "target", f"{name} in {target['unit'] or 'no unit'}"
    if description["length_unit"]:
        yield "lengths", description["length_unit"]
    if description["epoch"] is not None:
        yield "epoch", str(description["epoch"])
    best = description["best"]
    if best["epoch"] is not None:
        value = "" if best["value"] is None else f" ({_metric(best['value'], '')})"
        yield "best epoch", f"{best['epoch']}{value}"
    if architecture["hypers"]:
        yield "model", _hypers(architecture["hypers"])


# ---- pieces ----


def size(count: int) -> str:
    """Bytes for people: 1.63 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def _wrapped(label: str, fact: str) -> list[str]:
    start = f"  {label:<{_LABEL}}"
    return _broken(fact, start, " " * len(start))


def _broken(fact: str, first: str, others: str) -> list[str]:
    """Lines of a fact; one that is very long is cut."""
    fact = fact if len(fact) <= _LONGEST else f"{fact[:_LONGEST]}..."
    lines = textwrap.wrap(
        fact, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )
    return [line.replace(_KEPT, " ").rstrip() for line in lines]


def _hypers(values: Any) -> str:
    """Nested options in one line, each in one piece."""
    if not isinstance(values, dict):
        return _value(values)
    pairs = []
    for key, value in sorted(values.items()):
        if isinstance(value, dict) and value:
            pairs += [f"{key}.{inner}={_value(entry)}" for inner, entry in sorted(value.items())]
        else:
            pairs.append(f"{key}={_value(value)}")
    return _listed(pairs, len(pairs))


def _packages(versions: Any) -> str:
    """Packages with their versions, mtt first."""
    if not isinstance(versions, dict):
        return "unknown"
    names = sorted(versions, key=lambda name: (name != "mtt", name))
    return _listed((f"{name} {_value(versions[name])}" for name in names), len(names))


def _value(value: Any) -> str:
    """A value as it would be in options, long ones shortened; hashes to what tells them apart."""
    if isinstance(value, list):
        return _listed(map(_value, value)) or "[]"
    if isinstance(value, str):
        return _short(value) if len(value) >= 64 and value.isalnum() else value or '""'
    return json.dumps(value)


def _listed(values: Iterable[str], most: int = _MOST) -> str:
    """The first of many, each in one piece."""
    items = list(values)
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(str(item).replace(" ", _KEPT) for item in items[:most]) + more


def _short(digest: Any) -> str:
    """As much of a hash as tells it from others; that of an image begins with its kind."""
    if not isinstance(digest, str):
        return "unknown"
    kind, colon, number = digest.rpartition(":")
    return f"{kind}{colon}{number[:12]}..."
