"""Whose pickle this is, by the names and keys in it; nothing is loaded.

Programs differ in what they pickle: metatrain and Lightning a dictionary with keys of their own, MACE and
others a whole object of their own classes.
"""

import io
from typing import Any, Final

from mtt.filetypes import inert_pickle
from mtt.filetypes.inert_pickle import Inert, Thing
from mtt.printable import printable

ANEW: Final = "train anew from the data, or export it with the program that wrote it"
# The kind of a checkpoint of metatrain.
METATRAIN: Final = "pickle-metatrain"
_METATRAIN: Final = (
    "export it with metatrain and check the result with 'mtt verify', or train anew from the data "
    "with the same options"
)
# By the package whose classes or code are in the file; the first one that is found counts.
PROGRAMS: Final = {
    "metatrain": "metatrain",
    "mace": "MACE",
    "allegro": "Allegro",
    "nequip": "NequIP",
    "deepmd": "DeePMD-kit",
    "chgnet": "CHGNet",
    "matgl": "MatGL",
    "fairchem": "FAIRChem",
    "ocpmodels": "FAIRChem",
    "orb_models": "Orb",
    "sevenn": "SevenNet",
    "schnetpack": "SchNetPack",
    "torchani": "TorchANI",
    "torchmdnet": "TorchMD-NET",
    "sklearn": "scikit-learn",
}
_LONGEST: Final = 60
_TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
_OLD_STARTS: Final = frozenset(b"(]})lcid")
Description = tuple[str, str, str]


def describe(content: bytes) -> Description:
    """Kind, sentence part and hint of a pickle, or of the pickles that torch wrote before 1.6."""
    stream = io.BytesIO(content)
    pickled = inert_pickle.read(stream)
    if pickled.complete and pickled.root == _TORCH_MAGIC:
        # Behind the magic number: the version, what machine it was, and then the object.
        for _ in range(3):
            pickled = inert_pickle.read(stream)
    if isinstance(pickled.root, dict):
        return _dictionary(pickled, pickled.root)
    program = _program(pickled)
    if isinstance(pickled.root, Thing):
        name = printable(pickled.root.name, _LONGEST)
        if program is None:
            return "pickle-object", f"a pickled object ({name})", ANEW
        return f"pickle-{_slug(program)}", f"a pickled model of {program} ({name})", ANEW
    return "pickle", f"a pickled checkpoint of {program or 'another program'}", ANEW


def is_old_pickle(content: bytes, cut: bool) -> bool:
    """Whether this is a pickle of protocol 0 or 1, which no mark tells.

    :param cut: there is more in the file than ``content``
    """
    if not content or content[0] not in _OLD_STARTS:
        return False
    pickled = inert_pickle.read(io.BytesIO(content))
    if pickled.complete:
        return pickled.opcodes > 2 and isinstance(pickled.root, dict | list | Thing)
    return pickled.opcodes > (100 if cut else inert_pickle.MAX_OPCODES)


def _dictionary(content: Inert, root: dict[str, Any]) -> Description:
    if isinstance(root.get("architecture_name"), str) or "model_ckpt_version" in root:
        return (
            METATRAIN,
            f"a pickled checkpoint of metatrain{_metatrain(root)}",
            _METATRAIN,
        )
    if "pytorch-lightning_version" in root:
        return "pickle-lightning", _lightning(content, root), ANEW
    model = root.get("model")
    if isinstance(model, dict) and "_extra_state" in model:
        return "pickle-deepmd-kit", "a pickled checkpoint of DeePMD-kit", ANEW
    program = _program(content)
    if program is not None:
        return f"pickle-{_slug(program)}", f"a pickled checkpoint of {program}", ANEW
    if root and all(_is_tensor(value) for value in root.values()):
        first = printable(next(iter(root)), _LONGEST)
        what = f"a pickled state dict of torch ({len(root)} tensors, the first is {first})"
        return "pickle-state-dict", what, ANEW
    return "pickle", "a pickled checkpoint of another program", ANEW


def _metatrain(root: dict[str, Any]) -> str:
    """What is in the brackets; wrappers such as the one for uncertainties have the model inside."""
    name, version = root.get("architecture_name"), root.get("model_ckpt_version")
    known = [f"architecture {printable(name, _LONGEST)}"] if isinstance(name, str) else []
    if type(version) is int and 0 <= version < 10**6:
        known.append(f"version {version}")
    inside = root.get("wrapped_model_checkpoint")
    if isinstance(inside, dict) and isinstance(inside.get("architecture_name"), str):
        known.append(f"around {printable(inside['architecture_name'], _LONGEST)}")
    return f" ({', '.join(known)})" if known else ""


def _lightning(content: Inert, root: dict[str, Any]) -> str:
    program = _program(content)
    of = f" of {program}" if program else ""
    version = root["pytorch-lightning_version"]
    number = f" {printable(version, _LONGEST)}" if isinstance(version, str) else ""
    return f"a pickled checkpoint{of} (PyTorch Lightning{number})"


def _program(content: Inert) -> str | None:
    """The program whose classes are in the pickle; hyperparameters may name them as texts."""
    packages = {name.partition(".")[0] for name in content.names}
    if isinstance(content.root, dict):
        packages |= set(_targets(content.root.get("hyper_parameters")))
    return next((program for key, program in PROGRAMS.items() if key in packages), None)


def _targets(hypers: Any, depth: int = 3) -> list[str]:
    """Packages of the classes that the keys ``_target_`` of nested hyperparameters name."""
    if not isinstance(hypers, dict) or depth == 0:
        return []
    packages = []
    for key, value in list(hypers.items())[:100]:
        if key == "_target_" and isinstance(value, str):
            packages.append(value.partition(".")[0])
        packages += _targets(value, depth - 1)
    return packages


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Thing) and value.name.startswith("torch._utils._rebuild_")


def _slug(program: str) -> str:
    return program.lower().replace(" ", "-")
