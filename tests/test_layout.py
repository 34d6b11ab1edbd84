"""The layout of the package: who may import whom, names that occur once, keys of headers that nobody reads."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "python" / "mtt"

# Each may import those before it, and itself; also inside functions and for types only.
ORDER = (
    "version",
    "printable",
    "errors",
    "compiled",
    "imports",
    "canonical",
    "device",
    "elements",
    "units",
    "unit_expressions",
    "files",
    "tokens",
    "architecture_registry",
    "filetypes",
    "options",
    "data",
    "architectures",
    "report",
    "checkpoint",
    "verify",
    "export",
    "evaluation",
    "training",
    "inspect",
    "lineage",
    "images",
    "sources",
    "api",
    "cli",
    "__main__",
    "__init__",
)
# The one seam: the table of built-in architectures, which are imported by their names.
SEAM = "mtt.architecture_registry"

# Base names that occur more than once, because the files are the same thing at several levels.
TWICE = {
    # Runs the task of its package: model.ckpt from options, model.pt from model.ckpt, ...
    "run": {"evaluation", "export", "training", "verify"},
    # Parses the command line for the task of the other package.
    "reproduce": {"cli", "lineage"},
    "show": {"cli", "inspect"},
    "sign": {"cli", "lineage"},
    "upgrade": {"checkpoint", "cli"},
    # Fits what the other one adds to the values of a model.
    "baseline": {"architectures", "training"},
    # Options and network of each architecture.
    "hypers": {
        "architectures/composition",
        "architectures/mace",
        "architectures/pet",
        "architectures/soap_bpnn",
    },
    "model": {
        "architectures/composition",
        "architectures/mace",
        "architectures/pet",
        "architectures/soap_bpnn",
    },
    # Writes a page of docs/reference.
    "reference": {"cli", "options", "verify"},
}


def modules(package: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    return {module_name(package, path): path for path in sorted(package.rglob("*.py"))}


def module_name(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """Yield each module of ``known`` that a file imports, with the line.

    An import counts wherever it stands: in a function, under ``TYPE_CHECKING``, or as a string that
    is the dotted name of a module.
    """
    folder = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folder.split(".")[: len(folder.split(".")) - node.level + 1]
            parts = [*(above if node.level else []), *([node.module] if node.module else [])]
            origin = ".".join(parts)
            # ``from a import b`` imports the module a.b if there is one, and a otherwise.
            members = [f"{origin}.{alias.name}" for alias in node.names]
            names = [member if member in known else origin for member in members]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and name != SEAM:
            names = [node.value] if "." in node.value else []
        else:
            continue
        yield from ((target, node.lineno) for target in names if target in known and target != name)


def part(name: str) -> str:
    """Return the package or file at the top level to which a module belongs."""
    return (name.split(".") + ["__init__"])[1]


def upward_imports(package: Path) -> list[str]:
    """Return ``file:line`` of each import of what is above in the order."""
    known, wrong = modules(package), []
    for name, path in known.items():
        for target, line in imports(name, path, known):
            if ORDER.index(part(target)) > ORDER.index(part(name)):
                wrong.append(f"{path.relative_to(package)}:{line}: {name} imports {target}")
    return wrong


def circles(package: Path) -> list[str]:
    """Return a way around each group of files that import each other."""
    known = modules(package)
    graph = {
        name: sorted({target for target, _ in imports(name, path, known)})
        for name, path in known.items()
    }
    done: set[str] = set()
    ways = []
    for name in graph:
        way = way_back(graph, name, done)
        if way:
            ways.append(" -> ".join(way))
            done |= set(way)
    return ways


def way_back(graph: Mapping[str, list[str]], start: str, without: set[str]) -> list[str]:
    """Return the shortest way from a file to itself that avoids some files, or nothing."""
    ways = [[start]]
    seen: set[str] = set(without)
    for way in ways:
        for target in graph[way[-1]]:
            if target == start and start not in without:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def repeated_names(package: Path) -> dict[str, set[str]]:
    """Return the base names that occur more than once, with the folders that have them."""
    paths = [path for path in package.rglob("*.py") if path.stem != "__init__"]
    counts = Counter(path.stem for path in paths)
    return {
        stem: {str(path.parent.relative_to(package)) for path in paths if path.stem == stem}
        for stem, count in counts.items()
        if count > 1
    }


def header_keys(package: Path) -> list[str]:
    """Return ``file:line`` of what reads a header by string keys, outside of ``checkpoint``."""
    pattern = re.compile(r"header(\[|\.get\()f?[\"']")
    return [
        f"{path.relative_to(package)}:{number}: {line.strip()}"
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] != "checkpoint"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def plant(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a package ``mtt`` with the files."""
    package = folder / "mtt"
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    for path in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (path / "__init__.py").touch()
    return package


def test_the_order_names_what_there_is() -> None:
    assert {part(name) for name in modules(PACKAGE)} == set(ORDER)


def test_no_import_goes_upward() -> None:
    assert upward_imports(PACKAGE) == []


def test_no_files_import_each_other() -> None:
    assert circles(PACKAGE) == []


def test_a_base_name_occurs_once() -> None:
    assert repeated_names(PACKAGE) == TWICE


def test_nobody_reads_a_header_by_string_keys() -> None:
    assert header_keys(PACKAGE) == []


@pytest.mark.parametrize(
    "text",
    [
        "import mtt.cli.train",
        "from mtt.cli import train",
        "from mtt.cli.train import run",
        "from ..cli import train",
        "from ..cli.train import run",
        "def lazy():\n    from mtt.cli.train import run",
        "def lazy():\n    import mtt.cli.train as train",
        "class A:\n    def lazy(self):\n        if self:\n            from mtt.cli import train",
        "if TYPE_CHECKING:\n    from mtt.cli.train import run",
        "import importlib\nimportlib.import_module('mtt.cli.train')",
        "MODULES = {'train': 'mtt.cli.train'}",
    ],
)
def test_an_upward_import_is_seen(text: str, tmp_path: Path) -> None:
    package = plant(tmp_path, {"data/a.py": text, "cli/train.py": "from mtt.data import b\n"})
    line = len(text.splitlines())
    assert upward_imports(package) == [f"data/a.py:{line}: mtt.data.a imports mtt.cli.train"]


def test_an_import_of_a_package_and_of_the_root_is_seen(tmp_path: Path) -> None:
    files = {"data/a.py": "from mtt.cli import parse", "errors.py": "import mtt", "cli/b.py": ""}
    assert upward_imports(plant(tmp_path, files)) == [
        "data/a.py:1: mtt.data.a imports mtt.cli",
        "errors.py:1: mtt.errors imports mtt",
    ]


def test_the_table_of_plugins_is_the_only_seam(tmp_path: Path) -> None:
    table = "BUILT_IN = {'pet': 'mtt.architectures.pet'}\n"
    files = {"architecture_registry.py": table, "options/a.py": table, "architectures/pet.py": ""}
    assert upward_imports(plant(tmp_path, files)) == [
        "options/a.py:1: mtt.options.a imports mtt.architectures.pet"
    ]
    lazy = {"architecture_registry.py": "def get():\n    from mtt.architectures import pet\n"}
    assert len(upward_imports(plant(tmp_path, lazy))) == 2


def test_a_circle_is_seen(tmp_path: Path) -> None:
    files = {
        "data/a.py": "from mtt.data import b",
        "data/b.py": "def lazy():\n    from .c import value",
        "data/c.py": "if TYPE_CHECKING:\n    import mtt.data.a",
        "data/d.py": "import mtt.data.a",
        "data/e.py": "from mtt.options.f import x",
        "options/f.py": "def lazy():\n    from mtt.data.e import y",
    }
    assert circles(plant(tmp_path, files)) == [
        "mtt.data.a -> mtt.data.b -> mtt.data.c -> mtt.data.a",
        "mtt.data.e -> mtt.options.f -> mtt.data.e",
    ]


def test_two_circles_through_one_file_are_seen_one_after_the_other(tmp_path: Path) -> None:
    files = {
        "data/a.py": "from mtt.data import b, c",
        "data/b.py": "from mtt.data import a",
        "data/c.py": "from mtt.data import a",
    }
    package = plant(tmp_path, files)
    assert circles(package) == ["mtt.data.a -> mtt.data.b -> mtt.data.a"]
    (package / "data" / "b.py").write_text("")
    assert circles(package) == ["mtt.data.a -> mtt.data.c -> mtt.data.a"]


def test_a_name_that_occurs_twice_is_seen(tmp_path: Path) -> None:
    files = {"data/units.py": "", "options/schema/units.py": "", "options/run.py": ""}
    assert repeated_names(plant(tmp_path, files)) == {"units": {"data", "options/schema"}}


def test_a_key_of_a_header_is_seen(tmp_path: Path) -> None:
    text = "a = header[\"epoch\"]\nb = header.get('epoch')\nc = header.position.epoch\n"
    package = plant(tmp_path, {"export/a.py": text, "checkpoint/b.py": text})
    assert [line.partition(": ")[0] for line in header_keys(package)] == [
        "export/a.py:1",
        "export/a.py:2",
    ]
