"""One atomic structure with its reference values, in plain numpy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

# No length of a packed array: it marks values of atoms.
_PER_ATOM = b"\xfe" * 8
_WEIGHT = b"\xfd" * 8
_STATE = b"\xfc" * 8
# Charge and spin multiplicity of a structure of which nothing else is said.
NEUTRAL_SINGLET = (0, 1)


@dataclass(frozen=True)
class Reference:
    """Reference values of one target for a structure of N atoms.

    - ``values`` float64, in the target's unit: (P,) of a target per system, (N, P) of a target per
      atom; NaN where the data has none;
    - ``forces`` (N, 3): minus the gradient of an energy, energy/length; None where the data has
      none;
    - ``stress`` (3, 3): derivative by strain over the volume, energy/length^3, ASE's sign; None
      where the data has none or where the structure is not periodic along all three axes.
    """

    values: NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    stress: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Structure:
    """One structure of N atoms.

    - ``types`` (N,) int32: atomic types, that is atomic numbers;
    - ``positions`` (N, 3) float64, in the data's length unit;
    - ``cell`` (3, 3) float64: lattice vectors as rows; rows of non-periodic axes are zero;
    - ``pbc`` (3,) bool;
    - ``references``: reference values by target name, without the targets that have none;
    - ``source``: where it was read, ``FILE#INDEX`` with the index counted from 0;
    - ``config_type``: the group that the data put it in, empty where they name none;
    - ``weight``: how much it counts in the loss;
    - ``charge``: total charge, in units of the elementary charge;
    - ``spin_multiplicity``: 2 S + 1 of the total spin S.
    """

    types: NDArray[np.int32]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    references: dict[str, Reference] = field(default_factory=dict)
    source: str = ""
    config_type: str = ""
    weight: float = 1.0
    charge: int = NEUTRAL_SINGLET[0]
    spin_multiplicity: int = NEUTRAL_SINGLET[1]

    def __len__(self) -> int:
        return len(self.types)

    @property
    def state(self) -> tuple[int, int]:
        """Return charge and spin multiplicity."""
        return self.charge, self.spin_multiplicity

    def in_state(self, state: Mapping[str, int]) -> "Structure":
        """Return the structure with the ``charge`` and ``spin_multiplicity`` of a mapping, if it has them."""
        return replace(
            self,
            charge=state.get("charge", self.charge),
            spin_multiplicity=state.get("spin_multiplicity", self.spin_multiplicity),
        )

    @property
    def volume(self) -> float:
        """Return the volume in length^3 of a structure periodic along all three axes, otherwise 0."""
        return float(abs(np.linalg.det(self.cell))) if self.pbc.all() else 0.0


def content_hash(structures: Sequence[Structure]) -> str:
    """Return the SHA-256 (hex) of what the structures contain, not of the files that they came from.

    Covers the order of the structures, types, positions, cells, periodicity, charges, spin
    multiplicities, all references and weights bit by bit; leaves out ``source``, so that moving or
    renaming a file changes nothing, and ``config_type``, which is no part of what is learned.
    """
    return fingerprints(structures)[0]


def fingerprints(structures: Sequence[Structure]) -> tuple[str, NDArray[np.int64]]:
    """Return :func:`content_hash`, and (n, 2) int64 to say later which of the structures have changed.

    A row is, for one structure, the first 8 bytes of the SHA-256 of its types, positions, cell,
    periodicity, charge and spin multiplicity, and the same for its references.
    """
    digest = hashlib.sha256(b"mtt structures 1\0")
    digest.update(len(structures).to_bytes(8, "little"))
    first_bytes = bytearray()
    for structure in structures:
        for packed in (_geometry(structure), _references(structure)):
            digest.update(packed)
            first_bytes += hashlib.sha256(packed).digest()[:8]
    rows = np.frombuffer(bytes(first_bytes), dtype="<i8").astype(np.int64).reshape(-1, 2)
    return digest.hexdigest(), rows


def _geometry(structure: Structure) -> bytes:
    arrays = ((structure.types, "<i4"), (structure.positions, "<f8"), (structure.cell, "<f8"))
    packed = b"".join(_packed(*pair) for pair in arrays) + _packed(structure.pbc, "u1")
    if structure.state != NEUTRAL_SINGLET:
        # Hashes of neutral singlets are those of the first format.
        packed += _STATE + _packed(np.array(structure.state), "<i8")
    return packed


def _references(structure: Structure) -> bytes:
    parts = [len(structure.references).to_bytes(8, "little")]
    for name in sorted(structure.references):
        reference, encoded = structure.references[name], name.encode()
        parts += [len(encoded).to_bytes(8, "little"), encoded]
        if reference.values.ndim > 1:
            # Values per system have no such mark: their hashes are those of the first format.
            parts += [_PER_ATOM, _packed(np.array(reference.values.shape), "<i8")]
        parts += [_packed(reference.values, "<f8")]
        parts += [_packed(reference.forces, "<f8"), _packed(reference.stress, "<f8")]
    if structure.weight != 1.0:
        # Hashes of structures without weights are those of the first format.
        parts += [_WEIGHT, _packed(np.array([structure.weight]), "<f8")]
    return b"".join(parts)


def _packed(array: object, dtype: str) -> bytes:
    # The length comes first so that no two different lists of arrays give the same bytes.
    if array is None:
        return b"\xff" * 8
    raw = np.ascontiguousarray(np.asarray(array), dtype=dtype).tobytes()
    return len(raw).to_bytes(8, "little") + raw
