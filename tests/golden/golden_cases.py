"""Which checkpoints are kept as golden files: small runs that switch every option on somewhere.

Every two values of two model options (and of precision and optimizer) meet in some case, because
upgrades go wrong where options meet. New options must be given values here; a test says which. The last
case of each architecture has targets that turn.
"""

import itertools
import random
from collections.abc import Mapping
from typing import Any

# Every value that an option of the model is tried with; defaults need not be among the numbers.
MODEL: dict[str, list[Any]] = {
    "cutoff": [3.0, 3.4],
    "cutoff_function": ["Bump", "Polynomial"],
    "cutoff_width": [0.5, 0.9],
    "num_radial": [8, 0, 3],
    "d_pet": [2, 4],
    "d_head": [2, 3],
    "d_node": [2, 3],
    "d_feedforward": [2, 3],
    "num_heads": [1, 2],
    "num_attention_layers": [1, 2],
    "num_gnn_layers": [2, 1, 3],
    "normalization": ["RMSNorm", "LayerNorm"],
    "activation": ["SwiGLU", "SiLU"],
    "attention_temperature": [1.0, 1.7],
    "transformer_type": ["PreLN", "PostLN"],
    "featurizer_type": ["feedforward", "residual"],
}
# Options that came later, and are stored where they are not the default: a case of its own for each, so
# that those of older files stay what they are.
LATER: dict[str, dict[str, Any]] = {
    name: {"zbl": True, "long_range": {"num_charges": 2}} for name in ("pet", "soap_bpnn")
}
LAST = ("long_range",)
LATER_TRAINING: dict[str, Any] = {"uncertainty": {"method": "llpr", "num_ensemble_members": 3}}
# Ensembles of last layers that are trained, which checkpoints have the weights of: last and best.
ENSEMBLES: list[dict[str, Any]] = [
    {**LATER_TRAINING["uncertainty"], "ensemble_loss": "gaussian_crps"},
    {
        **LATER_TRAINING["uncertainty"],
        "ensemble_loss": "gaussian_nll",
        "train_all_parameters": True,
    },
]
BY_ATOMS: dict[str, Any] = {"max_atoms_per_batch": 9, "min_atoms_per_batch": 1}
# Those that go together; the data then say charge and spin.
STATES: dict[str, Any] = {
    "system_conditioning": True,
    "max_charge": 2,
    "max_spin_multiplicity": 3,
}
SOAP_MODEL: dict[str, list[Any]] = {
    "soap.cutoff.radius": [3.0, 3.4],
    "soap.cutoff.width": [0.5, 0.9],
    "soap.max_angular": [2, 1, 3],
    "soap.max_radial": [2, 3],
    "soap.channels": [3, 2],
    "soap.center_weight": [0.0, 0.7],
    "bpnn.num_hidden_layers": [1, 2],
    "bpnn.num_neurons_per_layer": [3, 4],
    "bpnn.layernorm": [True, False],
}
# By architecture; a dot leads into a section.
MODELS: dict[str, dict[str, list[Any]]] = {
    "pet": MODEL,
    "soap_bpnn": SOAP_MODEL,
    "composition": {"cutoff": [1.0, 3.0]},
}
# Of mace two: the blocks are those of mace-torch. Each option has two values.
MACE_MODELS: list[dict[str, Any]] = [
    {
        "r_max": 3.0,
        "num_radial_basis": 3,
        "radial_type": "bessel",
        "num_cutoff_basis": 5,
        "max_ell": 1,
        "interaction": "RealAgnosticResidualInteractionBlock",
        "interaction_first": "RealAgnosticResidualInteractionBlock",
        "num_interactions": 2,
        "hidden_irreps": "2x0e + 2x1o",
        "MLP_irreps": "2x0e",
        "radial_MLP": [4],
        "correlation": 2,
        "gate": "silu",
        "apply_cutoff": True,
        "avg_num_neighbors": 10.0,
        "use_last_readout_only": False,
        "use_agnostic_product": False,
    },
    {
        "r_max": 3.4,
        "num_radial_basis": 2,
        "radial_type": "gaussian",
        "num_cutoff_basis": 4,
        "max_ell": 2,
        "interaction": "RealAgnosticDensityResidualInteractionBlock",
        "interaction_first": "RealAgnosticDensityInteractionBlock",
        "num_interactions": 3,
        "hidden_irreps": "2x0e + 2x2e",
        "MLP_irreps": "3x0e",
        "radial_MLP": [3, 3],
        "correlation": 3,
        "gate": "tanh",
        "apply_cutoff": False,
        "avg_num_neighbors": 4.0,
        "use_last_readout_only": True,
        "use_agnostic_product": True,
    },
]
# What decides which tensors there are, and of which type.
SHAPE: dict[str, list[Any]] = {"base_precision": [64, 32], "weight_decay": [None, 0.1]}

# Options of the trainer, turned through case by case: each value occurs, pairs do not matter.
TRAINING: dict[str, list[Any]] = {
    "batch_size": [2, 3],
    "num_epochs": [2, 3],
    "learning_rate": [1e-2, 3e-3],
    "warmup_fraction": [0.01, 0.4],
    "grad_clip_norm": [1.0, 0.2],
    "log_interval": [1, 2],
    "checkpoint_interval": [1, 7],
    "checkpoint_every": ["10 min", "3 steps", None],
    "keep_last": [2, 1],
    "keep_best": [True, False],
    "keep_every": [1, 3, None],
    "max_time": [None, "11h 30min"],
    "scale_targets": ["forces", True, False],
    "atomic_baseline": [{}, {"energy": -1.5}, {"energy": {1: -0.5, 29: 2.0}}],
    "num_workers": [0, 1],
    "rotational_augmentation": [True, False],
    "best_model_metric": ["rmse_prod", "mae_prod", "loss"],
    "best_model_smoothing": [0.05, 0.0, 1.0],
    "loss": [
        {"type": "mse"},
        {"type": "mae", "energy": 2.0, "forces": 0.5},
        {"type": "huber", "delta": 0.3, "stress": 0.1},
    ],
}
# Cases of their own, which begin with the weights of the first one.
FINE_TUNE: list[dict[str, Any]] = [
    {"weights": "best", "baseline": "refit"},
    {"weights": "last", "baseline": "keep"},
]
Case = dict[str, Any]


def covering(factors: Mapping[str, list[Any]]) -> list[Case]:
    """Few rows in which every two values of any two factors meet, the first values in the first."""
    tries = (_greedy(factors, random.Random(seed)) for seed in range(40))
    rows = min(tries, key=len)
    return [{name: factors[name][row[name]] for name in factors} for row in rows]


def _greedy(factors: Mapping[str, list[Any]], dice: random.Random) -> list[dict[str, int]]:
    rows: list[dict[str, int]] = [dict.fromkeys(factors, 0)]
    missing = {
        frozenset(pair)
        for one, other in itertools.combinations(factors, 2)
        for pair in itertools.product(
            [(one, x) for x in range(len(factors[one]))],
            [(other, y) for y in range(len(factors[other]))],
        )
    } - _pairs(rows[0])
    while missing:
        row = dict(dice.choice(sorted(sorted(pair) for pair in missing)))
        names = [name for name in factors if name not in row]
        dice.shuffle(names)
        for name in names:
            values = dice.sample(range(len(factors[name])), len(factors[name]))
            row[name] = max(
                values,
                key=lambda value: sum(
                    frozenset(((name, value), other)) in missing for other in row.items()
                ),
            )
        missing -= _pairs(row)
        rows.append(row)
    return rows


def _pairs(row: Mapping[str, int]) -> set[frozenset[tuple[str, int]]]:
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


def cases(architecture: str = "pet") -> list[Case]:
    """``{"model": ..., "training": ..., "base_precision": ...}`` of each golden run.

    One has several targets, of PET only, the next one targets that turn, and those after it options that
    came later, an ensemble, a model that depends on charge and spin, batches by atoms, and ensembles of
    last layers that are trained.
    """
    if architecture == "mace":
        return _mace_cases()
    factors = MODELS[architecture]
    made: list[Case] = []
    for number, row in enumerate(covering({**factors, **SHAPE})):
        training = {name: values[number % len(values)] for name, values in TRAINING.items()}
        training["weight_decay"] = row["weight_decay"]
        model = nested({name: row[name] for name in factors})
        case = {"model": model, "training": training, "base_precision": row["base_precision"]}
        made.append({"architecture": architecture, **case})
    first = made[0]
    several = {**first["training"], "atomic_baseline": {"mtt::charges": 0.0}}
    if architecture == "pet":
        made += [
            {**first, "training": {**first["training"], "fine_tune": words}, "base": "0.ckpt"}
            for words in FINE_TUNE
        ]
        made.append({**first, "training": several, "several": True})
    made.append({**first, "training": several, "turning": True})
    made += [
        {**first, "model": {**first["model"], name: value}}
        for name, value in LATER.get(architecture, {}).items()
        if name not in LAST
    ]
    if architecture in LATER:
        made += [
            {**first, "training": {**first["training"], name: value}}
            for name, value in LATER_TRAINING.items()
        ]
        made.append({**first, "seed": [5, 6]})
        made.append({**first, "model": {**first["model"], **STATES}, "states": True})
        # Cases keep their numbers: these came after all of the above.
        made += [
            {**first, "model": {**first["model"], name: LATER[architecture][name]}} for name in LAST
        ]
        training = {key: own for key, own in first["training"].items() if key != "batch_size"}
        made.append({**first, "training": {**training, **BY_ATOMS}})
    if architecture == "pet":
        training = first["training"] | {"fine_tune": FINE_TUNE[1], "best_model_metric": "loss"}
        made += [
            {**first, "training": {**training, "uncertainty": words}, "base": "0.ckpt"}
            for words in ENSEMBLES
        ]
    return made


def _mace_cases() -> list[Case]:
    """One in float64 with several targets, one in float32 with an uncertainty, one with a repulsion."""
    training = {"batch_size": 2, "num_epochs": 2, "learning_rate": 1e-2}
    case: Case = {"architecture": "mace", "training": training}
    first, other = MACE_MODELS
    return [
        {**case, "model": first, "base_precision": 64, "several": True},
        {**case, "model": other, "base_precision": 32, "training": training | LATER_TRAINING},
        {**case, "model": {**first, "zbl": True}, "base_precision": 64},
    ]


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose names are dotted, as sections."""
    sections: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = sections
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return sections
