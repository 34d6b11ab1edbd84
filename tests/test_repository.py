"""What no reviewer should have to look for: promises about the files of the repository itself."""

import ast
import re
import shlex
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mtt
from mtt.cli import make_parser
from mtt.options import load_eval_options, load_options

ROOT = Path(__file__).parents[1]
LARGEST = 1_500_000  # bytes

# Written so that none of them matches this file.
REGISTRIES = re.compile(
    r"pypi[.]org|python(?:hosted)[.]org|anaconda[.]org|download[.]pytorch|-{2}(?:extra-)?index-url|"
    r"-{2}find-links|docker[.]io|quay[.]io|ghcr[.]io"
)
# Not those inside of images, which are the same everywhere.
MACHINE_PATHS = re.compile(
    r"(?<![\w.}~)-])/(?!opt/(?:mtt|verify|build)\b)(?:work|opt|root|home|tmp/w)/[\w.]"
)
UNPICKLERS = {"pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "joblib.load"}
UNPICKLING_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib"}
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def tracked() -> list[Path]:
    """Files that git knows, and that are there."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of the repository's files")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    """Tracked files that are text."""
    for path in tracked():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def found(pattern: re.Pattern[str]) -> list[str]:
    """``file:line: text`` of every match in the repository."""
    matches = []
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                matches.append(f"{path}:{number}: {line.strip()[:100]}")
    return matches


def pages() -> list[tuple[Path, str]]:
    """Tracked Markdown files."""
    return [(path, text) for path, text in texts() if path.suffix == ".md"]


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRIES) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert found(MACHINE_PATHS) == []


def test_patterns_match_what_they_are_for() -> None:
    slash = "/"
    assert MACHINE_PATHS.search(f"see {slash}work{slash}main")
    assert MACHINE_PATHS.search(f"'{slash}tmp{slash}w{slash}env'")
    assert not MACHINE_PATHS.search(f"docs{slash}work{slash}flow")
    assert REGISTRIES.search("https:" + slash * 2 + "pypi" + ".org")
    assert unpicklers("from pickle import loads\nimport torch as t\nt.load('x')") == [1, 3]
    assert unpicklers("import torch\ntorch.jit.load('x')") == []


def test_files_are_small() -> None:
    large = [f"{path.name}: {path.stat().st_size}" for path in tracked()]
    assert [line for line in large if int(line.rsplit(" ", 1)[1]) > LARGEST] == []


def unpicklers(source: str) -> list[int]:
    """Lines of Python code that could load a pickle."""
    aliases: dict[str, str] = {}
    lines = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name] = name.name
                if name.name.split(".")[0] in UNPICKLING_MODULES:
                    lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if node.module.split(".")[0] in UNPICKLING_MODULES or full in UNPICKLERS:
                    lines.append(node.lineno)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = aliases.get(node.value.id, node.value.id)
            if f"{module}.{node.attr}" in UNPICKLERS:
                lines.append(node.lineno)
        if isinstance(node, ast.keyword) and node.arg in ("weights_only", "allow_pickle"):
            lines.append(node.value.lineno)
    return sorted(lines)


def test_package_never_unpickles() -> None:
    guilty = []
    for path, text in texts():
        if path.parts[0] == "python" and path.suffix == ".py":
            guilty += [f"{path}:{line}" for line in unpicklers(text)]
    assert guilty == []


def test_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("BSD 3-Clause License")
    assert "mtt developers" in text


def test_gate_can_be_run() -> None:
    gate = ROOT / ".ci" / "run"
    assert gate.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(gate)], check=True)


def project() -> dict:
    """The content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def normal(name: str) -> str:
    """The name of a package as registries compare it, without version and extras."""
    return re.split(r"[\s\[<>=!~;(]", name, maxsplit=1)[0].lower().replace("_", "-")


def test_versions_agree() -> None:
    stated = project()["project"].get("version")
    if stated is not None:
        assert stated == mtt.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {mtt.__version__}" in changelog


def test_lock_holds_everything_that_is_asked_for() -> None:
    folder = ROOT / "requirements"
    direct = [
        line for line in (folder / "direct.txt").read_text().splitlines() if line and line[0] != "#"
    ]
    locked = {
        normal(line): line
        for line in (folder / "locked.txt").read_text().splitlines()
        if line[0] != "#"
    }
    makefile = (ROOT / "Makefile").read_text()
    torch = next(line for line in direct if normal(line) == "torch")
    assert f"TORCH := {torch.removeprefix('torch==')}\n" in makefile
    assert "torch" not in locked
    names = {normal(line) for line in direct}
    assert names - {"torch"} <= set(locked)
    for line in locked.values():
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; [^#]+)?( --hash=sha256:[0-9a-f]{64})+", line)
    needed = project()["project"]["dependencies"] + project()["build-system"]["requires"]
    assert {normal(line) for line in needed} <= names


def slug(heading: str) -> str:
    """The anchor that a Markdown heading gets."""
    text = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_links_lead_somewhere() -> None:
    broken = []
    for path, text in pages():
        prose = FENCE.sub("", text)
        for target in LINK.findall(prose):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (ROOT / path).parent / name if name else ROOT / path
            if not file.exists():
                broken.append(f"{path}: {target}")
            elif anchor and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text()), re.MULTILINE)
                if anchor not in {slug(heading) for heading in headings}:
                    broken.append(f"{path}: {target} (no such heading)")
    assert broken == []


def commands() -> list[tuple[str, str]]:
    """Every ``mtt ...`` line in the code blocks of the documentation."""
    lines = []
    for path, text in pages():
        for _, block in FENCE.findall(text):
            for line in block.splitlines():
                command = line.strip().removeprefix("$ ")
                if re.match(r"mtt( |$)", command):
                    lines.append((str(path), command))
    return lines


def test_documented_commands_parse() -> None:
    parser = make_parser()
    wrong = []
    for path, command in commands():
        try:
            parser.parse_args(shlex.split(command, comments=True)[1:])
        except SystemExit as end:
            if end.code != 0:
                wrong.append(f"{path}: {command}")
    assert commands() != []
    assert wrong == []


@pytest.mark.parametrize("folder", ["ethanol", "alloy"])
def test_example_options_are_valid(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs" / "examples" / folder)
    options = load_options(Path("options.yaml"), [])
    assert options.training_set[0].systems.read_from.is_file()
    if Path("eval.yaml").exists():
        load_eval_options(Path("eval.yaml"), [])


def test_every_noun_has_its_page_and_decisions_are_numbered() -> None:
    docs = ROOT / "docs"
    for noun in ("train", "checkpoint", "export", "verify", "image"):
        assert (docs / "concepts" / f"{noun}.md").is_file()
    numbers = [int(path.name[:4]) for path in sorted((docs / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
