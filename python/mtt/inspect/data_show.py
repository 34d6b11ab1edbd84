"""What data are like, as text: tables on a terminal, and the same without lines in a log."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table

from mtt.inspect.data_figures import Figures
from mtt.report.console import SteadyConsole

_MOST: Final = 8
_WIDTH: Final = 200


def show(report: Figures) -> None:
    """Print a report."""
    console = SteadyConsole()
    plain = not console.is_terminal
    if plain:
        console.width = _WIDTH  # a log has no edge at which tables must break
    for part in _parts(report, plain):
        if isinstance(part, str):
            console.print(part, soft_wrap=plain)
        else:
            console.print(part)


def _parts(report: Figures, plain: bool) -> Iterator[RenderableType]:
    if "files" in report:
        yield from _files(report["files"], plain)
    else:
        table = _table(plain, "set", "structures")
        for name, number in report["sets"].items():
            table.add_row(name, str(number))
        yield table
        if report["masks"]:
            yield _masks(report["masks"], plain)
    if report["structures"]:
        yield _overview(report, plain)
        if report["closest_pairs"]:
            table = _table(plain, "pair", "closest / A", "where")
            for pair in report["closest_pairs"]:
                table.add_row(pair["pair"], f"{pair['distance']:.3f}", pair["where"])
            yield table
        for name, target in report["targets"].items():
            if "components" in target:
                yield _components(name, target, plain)
            elif len(target) > 1:
                yield _labels(name, target, plain)
    yield from _doubts(report)


def _table(plain: bool, *columns: str) -> Table:
    table = Table(box=None if plain else box.HEAVY_HEAD, pad_edge=not plain)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _masks(masks: list[dict[str, Any]], plain: bool) -> Table:
    table = _table(plain, "mask", "of", "set", "values known", "structures without any")
    for mask in masks:
        known = f"{mask['known']} of {mask['values']}"
        without = f"{mask['structures_without']} of {mask['structures']}"
        table.add_row(mask["key"], mask["target"], mask["set"], known, without)
    return table


def _files(files: list[dict[str, Any]], plain: bool) -> Iterator[RenderableType]:
    table = _table(plain, "file", "structures", "usable", "labels taken", "missing")
    for file in files:
        taken = ", ".join(
            label if label == key else f"{label}: {key}" for label, key in file["taken"].items()
        )
        missing = "; ".join(f"{label} in {own['frames']}" for label, own in file["missing"].items())
        table.add_row(
            file["path"], str(file["frames"]), str(file["usable"]), taken or "none", missing or "-"
        )
    yield table
    keys: dict[tuple[str, ...], list[tuple[int, int, int]]] = {}
    for file in files:
        for key in file["keys"]:
            cells: tuple[str, ...] = (
                key["key"],
                key["of"],
                ", ".join(key["shapes"]),
                ", ".join(key["could_be"]) or "-",
            )
            numbers = key["frames"], key["without"], key["not_finite"]
            keys.setdefault(cells, []).append(numbers)
    if keys:
        table = _table(plain, "key", "of", "shape", "could be", "structures", "without", "NaN")
        for row, counts in keys.items():
            frames, without, spoilt = map(sum, zip(*counts, strict=True))
            table.add_row(*row, str(frames), str(without or "-"), str(spoilt or "-"))
        yield table


def _overview(report: Figures, plain: bool) -> Table:
    table = _table(plain, "what", "value")
    types = ", ".join(f"{name} {number}" for name, number in report["atoms_by_type"].items())
    periodic = ", ".join(
        f"{number} along {axes} axes" for axes, number in report["periodic_axes"].items()
    )
    rows = {
        "structures": str(report["structures"]),
        "atoms": f"{report['atoms']}; each {_range(report['atoms_each'])}",
        "atoms by type": types,
        "compositions": str(report["compositions"]),
        "periodic": periodic,
    }
    if "density" in report:
        rows["volume per atom / A^3"] = _range(report["volume_per_atom"])
        rows["density / (g/cm^3)"] = _range(report["density"])
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _range(values: Mapping[str, float]) -> str:
    least, median, most = (f"{values[name]:.5g}" for name in ("least", "median", "most"))
    return least if least == most else f"{least} to {most}, median {median}"


def _labels(name: str, target: Figures, plain: bool) -> Table:
    table = _table(plain, name, "structures", "value", "largest")
    energy = target.get("energy")
    if energy:
        unit = energy["unit"]
        number = str(energy["structures"])
        table.add_row(f"energy / ({unit})", number, _range(energy["per_atom"]), "")
        residuals = f"RMS {energy['residual_rms']:.4g}; {_range(energy['residuals'])}"
        table.add_row(
            f"without composition / ({unit})", number, residuals, _worst(energy["largest"])
        )
    forces = target.get("forces")
    if forces:
        text = f"RMS {forces['rms']:.4g}; norms {_range(forces['norms'])}"
        label = f"forces / ({forces['unit']})"
        table.add_row(label, str(forces["structures"]), text, _worst(forces["largest"]))
        table.add_row("sum of forces of a structure", "", f"up to {forces['largest_sum']:.3g}", "")
    stress = target.get("stress")
    if stress:
        label = f"stress / {stress['unit']}"
        text = f"largest component {_range(stress['components'])}"
        table.add_row(label, str(stress["structures"]), text, _worst(stress["largest"]))
    return table


def _components(name: str, target: Figures, plain: bool) -> Table:
    table = _table(plain, name, "values", "missing", "range", "spread")
    for part in target["components"]:
        label = " ".join(
            filter(None, (part["component"], target["unit"] and f"/ {target['unit']}"))
        )
        missing = str(part["missing"]) if part["missing"] else "-"
        table.add_row(label, str(part["values"]), missing, _range(part), f"{part['spread']:.4g}")
    return table


def _worst(entries: list[dict[str, Any]], most: int = 3) -> str:
    return ", ".join(f"{each['where']} ({each['value']:.4g})" for each in entries[:most])


def _doubts(report: Figures) -> Iterator[str]:
    """Yield a line for each thing that somebody should look at."""
    lines: list[str] = []
    for file in report.get("files", []):
        faults = file["faults"]
        for key in file["keys"]:
            if key["not_finite"] and key["key"] not in file["taken"].values():
                lines.append(
                    f"{file['path']}: {key['not_finite']} values of {key['key']} are NaN or infinite, in "
                    f"{key['frames_not_finite']} of {key['frames']} structures: {key['where_not_finite']}"
                )
            mask = key.get("mask")
            if mask is not None:
                lines.append(
                    f"{file['path']}: {key['key']} leaves out {mask['left_out']} of {mask['values']} values "
                    f"of {mask['of']}; training takes it for a mask if the options say so "
                    f"(mask: {key['key']})"
                )
        lines += [f"{fault['where']}: {fault['what']}" for fault in faults[:_MOST]]
        if len(faults) > _MOST:
            lines.append(
                f"{file['path']}: and {len(faults) - _MOST} more faults (--json has them all)"
            )
        lines += [
            f"{file['path']}: no {label} in {own['frames']} of {file['frames']} structures: {own['where']}"
            for label, own in file["missing"].items()
        ]
    unmeasured = report.get("unmeasured", [])
    lines += [f"{each['where']}: {each['what']}" for each in unmeasured[:_MOST]]
    if len(unmeasured) > _MOST:
        lines.append(f"and {len(unmeasured) - _MOST} more structures without distances")
    close = report.get("close", [])
    lines += [
        f"{each['where']}: two atoms ({each['pair']}) are only {each['distance']:.3g} A apart"
        for each in close[:_MOST]
    ]
    if len(close) > _MOST:
        lines.append(f"and {len(close) - _MOST} more structures with atoms that are too close")
    for name, target in report.get("targets", {}).items():
        for part in ("energy", "forces"):
            unusual = target.get(part, {}).get("unusual", [])
            if unusual:
                more = f" and {len(unusual) - _MOST} more" if len(unusual) > _MOST else ""
                lines.append(f"{name}: unusual {part}: {_worst(unusual, _MOST)}{more}")
        for own in target.get("components", []):
            if own["unusual"]:
                more = (
                    f" and {len(own['unusual']) - _MOST} more"
                    if len(own["unusual"]) > _MOST
                    else ""
                )
                of = f"{name} ({own['component']})" if own["component"] else name
                lines.append(f"{of}: unusual values: {_worst(own['unusual'], _MOST)}{more}")
        unbalanced = target.get("forces", {}).get("unbalanced", [])
        if unbalanced:
            more = f" and {len(unbalanced) - _MOST} more" if len(unbalanced) > _MOST else ""
            lines.append(
                f"{name}: forces of a structure that do not add up to zero, as those of frozen atoms, "
                f"in a field or of another frame: {_worst(unbalanced, _MOST)}{more}"
            )
    lines += _copies(report)
    lines += report.get("doubts", [])
    yield "doubts:" if lines else "no doubts"
    yield from (f"- {line}" for line in lines)


def _copies(report: Figures) -> Iterator[str]:
    """Yield a line for each file with copies, and for each two that share structures."""
    copies = report.get("copies", {})
    if "files" in report:
        for name, number in copies.get("within", {}).items():
            first, second = copies["within_where"][name]
            are = "structure is a copy" if number == 1 else "structures are copies"
            yield f"{number} {are} of another in {name}, as {second} is of {first}"
    for pair in copies.get("across", []):
        # What is in the training set too is among the doubts of a training run.
        if "files" not in report and "training_set" in (pair["one"], pair["other"]):
            continue
        are = "structure is" if pair["structures"] == 1 else "structures are"
        first, second = pair["where"]
        yield (
            f"{pair['structures']} {are} in {pair['one']} and in {pair['other']}, as {first} and {second}"
        )
