"""Reads and checks options files, reporting everything that is wrong with one at once."""

import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from mtt import architecture_registry
from mtt.errors import UserError
from mtt.files import check_regular, open_regular
from mtt.options.foreign.metatrain_keys import is_architecture
from mtt.options.foreign.translate import translate_data, translate_options
from mtt.options.foreign.whose import advice_for
from mtt.options.reading.document import Node, dump, parse
from mtt.options.reading.expand import expand_datasets, expand_options
from mtt.options.reading.no_effect import without_effect, written_in_full
from mtt.options.reading.old_defaults import fill_old_defaults
from mtt.options.reading.other_files import another_kind
from mtt.options.reading.overrides import apply_overrides
from mtt.options.reading.problems import SHORTEST, OptionsError, Problem, missing_file
from mtt.options.reading.validate import validate
from mtt.options.schema.base import OptionsModel
from mtt.options.schema.data_paths import data_files, expanded, unset_variable, why_unusable
from mtt.options.schema.datasets import DatasetOptions
from mtt.options.schema.metadata import Metadata
from mtt.options.schema.options import Options, options_class

M = TypeVar("M", bound=OptionsModel)
Contents = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# no options file comes near; a data file given by mistake must not be parsed for minutes
MAX_BYTES: Final = 8 * 2**20
_EMPTY: Final = f"the file is empty: it has no options; the shortest are {SHORTEST}"
# What YAML takes for the end of a line, so that places are those of the file.
_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def load_options(path: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Options:
    """The checked options of an options.yaml, with ``KEY=VALUE`` overrides applied.

    A mapping in the place of the path is what such a file says.

    Raises :class:`OptionsError` with all mistakes, located, or UserError if the file cannot be
    read at all. Files that the options name must exist.
    """
    file = _open(path, overrides)
    names = [str(name) for name in file.root.value]
    options = file.check_options()
    file.check_files(file.root)
    if not isinstance(path, Mapping):
        file.advice = advice_for(names, file.problems, file.name)
    file.raise_problems()
    assert options is not None
    options.take_notes(file.notes)
    return options


def load_recorded(stored: Mapping[str, Any], overrides: Sequence[str] = ()) -> Options:
    """The options that a file of ours has recorded, with every default, in today's version.

    Files that they name need not exist. Raises the same errors as :func:`load_options`.
    """
    text = dump(dict(stored))
    file = _parsed("the recorded options", text, overrides)
    options = file.check_options(recorded=True)
    file.raise_problems()
    assert options is not None
    return options


def load_eval_options(
    path: str | Path | Contents, overrides: Sequence[str] = ()
) -> list[DatasetOptions]:
    """The data sets of an eval.yaml: one dataset or a list of datasets.

    A mapping or a list in the place of the path is what such a file says.

    Raises the same errors as :func:`load_options`.
    """
    file = _open(path, overrides, several=True)
    if isinstance(file.root.value, dict) and {"architecture", "training_set"} <= {*file.root.value}:
        raise UserError(
            "these are options of mtt train, not of mtt eval",
            where=file.name,
            hint="write what stands under its training_set, systems and targets, to a file of its own,"
            " with the data to evaluate",
        )
    file.add(translate_data(file.root))
    datasets = expand_datasets(file.root)
    checked = [file.check(DatasetOptions, checked_dataset) for checked_dataset in datasets.value]
    file.check_files(datasets)
    if not checked:
        file.problems.append(Problem(file.root.place, "", "expected at least one dataset"))
    file.raise_problems()
    return [checked_dataset for checked_dataset in checked if checked_dataset is not None]


def parsed_tree(name: str, text: str) -> tuple[Node, list[str]]:
    """The tree of an options file as it is written, and its lines.

    Raises :class:`OptionsError` if the text is no options.
    """
    file = _parsed(name, text, ())
    file.raise_problems()
    return file.root, file.lines


def check_tree(root: Node) -> list[Problem]:
    """What is wrong with the tree of an options file, which is written out in full."""
    file = _File("", [], root)
    file.check_options()
    return file.problems


def load_metadata(path: str | Path) -> Metadata:
    """The checked contents of a metadata.yaml. Raises the same errors as :func:`load_options`."""
    return load_as(path, Metadata, "metadata file")


def load_as(path: str | Path, model: type[M], what: str) -> M:
    """The checked contents of another YAML file, which ``what`` names.

    Raises the same errors as :func:`load_options`.
    """
    file = _open(path, (), what=what)
    checked = file.check(model)
    file.raise_problems()
    assert checked is not None
    return checked


@dataclass
class _File:
    """An options file while it is being checked."""

    name: str
    lines: list[str]
    root: Node
    problems: list[Problem] = field(default_factory=list)
    advice: str = ""
    notes: list[str] = field(default_factory=list)

    def add(self, problems: Iterable[Problem]) -> None:
        """Take what is wrong, and note what is only to be said."""
        for problem in problems:
            if problem.harmless:
                self.notes.append(f"{problem.name}: {problem.message}")
            else:
                self.problems.append(problem)

    def check(self, model: type[M], root: Node | None = None) -> M | None:
        result, problems = validate(model, self.root if root is None else root)
        self.problems += problems
        return result

    def check_options(self, recorded: bool = False) -> Options | None:
        """The options of an options.yaml, from whatever program, if nothing is wrong with them.

        ``recorded``: they were taken from a file of ours, and what they contradict was said then.
        """
        before = self.root.plain()
        self.add(translate_options(self.root))
        if not recorded:
            foreign = self.root.plain() != before
            self.add(without_effect(self.root, foreign or written_in_full(self.root)))
        expand_options(self.root)
        model, problems = _model_for(self.root)
        self.problems += problems
        fill_old_defaults(self.root, model)
        return self.check(model)

    def check_files(self, root: Node) -> None:
        """Every ``read_from`` must stand for files that exist.

        The base of a fine-tuning is needed only when it begins, so it is looked for then.
        """
        later = _fine_tune(root)
        for node in root.walk():
            if node is later:
                continue
            for key in ("read_from",) if isinstance(node.value, dict) else ():
                named = node.get(key)
                if named is not None and isinstance(named.value, str):
                    message = _unusable(Path(named.value))
                    if message:
                        self.problems.append(Problem(named.place, named.name, message))

    def raise_problems(self) -> None:
        if self.problems:
            raise OptionsError(self.name, self.lines, self.problems, self.advice)


def _fine_tune(root: Node) -> Node | None:
    node: Node | None = root
    for key in ("architecture", "training", "fine_tune"):
        node = None if node is None else node.get(key)
    return node


def _unusable(path: Path) -> str | None:
    try:
        variable = unset_variable(path)
        path = expanded(path)
        if variable and not path.exists():
            return f"the environment variable {variable} is not set: {path}"
        why = why_unusable(path)
        if why is not None:
            return why
        for file in data_files(path):
            if not file.exists():
                return missing_file(file) + _of_percent(file)
            if not file.is_dir():
                check_regular(file)
    except (UserError, ValueError, OSError) as error:
        return getattr(error, "what", str(error))
    return None


def _of_percent(path: Path) -> str:
    """Return what to say of ``10%``, which is a fraction, but read as a path."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(path))
    return f"; for {path} of the training set write {float(number[1]) / 100:g}" if number else ""


def _open(
    path: str | Path | Contents,
    overrides: Sequence[str],
    several: bool = False,
    what: str = "options file",
) -> _File:
    """Parse the file and apply the overrides; stops here if there is no tree to work on."""
    if not isinstance(path, str | Path):
        return _parsed("the options", _written(path), overrides, several)
    path = Path(path)
    text = read_text(path, what, for_eval=several)
    try:
        return _parsed(str(path), text, overrides, several)
    except OptionsError:
        error = another_kind(path, what, for_eval=several)
        if error is None:
            raise
    raise error


def _written(contents: Contents) -> str:
    """Return what Python was given in the place of a file as the text of one.

    :raises UserError: it holds what no file can
    """
    several = isinstance(contents, Iterable) and not isinstance(contents, Mapping)
    entries: list[Any] = list(contents) if several else [contents]
    others = [entry for entry in entries if not isinstance(entry, Mapping)]
    try:
        if not others:
            plain = [dict(entry) for entry in entries]
            return dump(plain if several else plain[0])
    except yaml.representer.RepresenterError as error:
        others = [error.args[-1]]
    kind = type(others[0]).__name__
    raise UserError(
        f"options hold numbers, texts, lists and mappings, and here is an object of the type {kind}",
        hint="give the path of a file; structures are written to one by"
        " ase.io.write('data.xyz', structures)",
    )


def _parsed(name: str, text: str, overrides: Sequence[str], several: bool = False) -> _File:
    lines = _LINE_END.split(text)
    root, problems = parse(text)
    if root is None:
        problems = problems or [Problem(None, "", _EMPTY)]
        raise OptionsError(name, lines, problems)
    if not isinstance(root.value, dict | list if several else dict):
        message = f"expected a mapping of options at the top, found {_kind(root)}"
        raise OptionsError(name, lines, [*problems, Problem(root.place, "", message)])
    return _File(name, lines, root, problems + apply_overrides(root, overrides))


def _kind(root: Node) -> str:
    if isinstance(root.value, list):
        return "a list"
    return "text" if isinstance(root.value, str) else repr(root.value)


def _model_for(root: Node) -> tuple[type[Options], list[Problem]]:
    """The options class of the architecture that the file names."""
    architecture = root.get("architecture")
    if architecture is None:
        return Options, []
    name = architecture.get("name")
    problems: list[Problem] = []
    if name is not None and isinstance(name.value, str):
        try:
            return options_class(name.value), []
        except UserError as error:
            known = architecture_registry.names()
            message = str(error)
            if is_architecture(name.value) and name.value not in known:
                message = (
                    f"not yet in mtt: the architecture '{name.value}'; known: {', '.join(known)}"
                )
            problems = [Problem(name.place, name.name, message)]
    # its own options cannot be checked, everything else still can
    for section in ("model", "training"):
        node = architecture.get(section)
        if node is not None:
            node.dead = True
    return Options, problems


def read_text(path: Path, what: str, for_eval: bool = False) -> str:
    """The text of a small UTF-8 file. Raises UserError saying why it cannot be read."""
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, what, error) from None
    if len(data) > MAX_BYTES:
        raise another_kind(path, what, for_eval) or UserError(
            f"too large to be the {what}: {path}", hint="is it a data set or a model?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise another_kind(path, what, for_eval) or UserError(
            f"not a text file in UTF-8: {path}",
            where=f"line {line}, byte {error.start}",
            hint=f"the {what} is written in YAML; is this a data set or a model?",
        ) from None


def _unreadable(path: Path, what: str, error: OSError) -> UserError:
    if error.errno == errno.ENOENT:
        return UserError(missing_file(path, what))
    if error.errno == errno.EISDIR:
        return UserError(f"the {what} is a folder: {path}")
    return UserError(f"cannot read {path}: {error.strerror or error}")
