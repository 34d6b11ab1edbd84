"""Header and weights in, model out."""

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mtt.checkpoint.compatibility import check_architecture
from mtt.checkpoint.header import Header
from mtt.data.derived_targets import MATRICES
from mtt.errors import UserError
from mtt.printable import printable

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode

    from mtt.architectures.graph_model import GraphModel
    from mtt.architectures.potential import Potential
    from mtt.architectures.uncertainty import Uncertainty

    Tensors = dict[str, torch.Tensor]

Model = TypeVar("Model", bound="GraphModel")


def build_model(header: Header) -> "GraphModel":
    """Return the model that a header describes, in its precision, with weights still to be loaded."""
    from mtt.architectures.graph_model import GraphModel

    return _built(header, GraphModel)


def _built(header: Header, kind: "type[Model]") -> "Model":
    import torch
    from pydantic import ValidationError

    from mtt.architectures.cores import build_core
    from mtt.units import check_length_unit

    architecture = check_architecture(header)
    # Not from the options: those may be of a version that this mtt no longer reads.
    try:
        hypers = architecture.ModelHypers.model_validate(header.architecture.hypers)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
        ]
        raise UserError(
            f"the checkpoint's model hypers are not those of {architecture.name}: "
            + printable("; ".join(wrong), 400)
        ) from None
    try:
        check_length_unit(header.length_unit)
    except ValueError as error:
        raise UserError(f"the checkpoint's lengths cannot be used: {error}") from None
    with torch.random.fork_rng(devices=[]):
        core = build_core(architecture, hypers, header.atomic_types, header.targets, header.seeds)
    zbl = getattr(hypers, "zbl", False)
    model = kind(core, header.atomic_types, header.targets, header.length_unit, zbl)
    return model.set_precision(precision_dtype(header.precision))


def load_model(
    header: Header,
    tensors: "Tensors",
    weights: Literal["best", "last"] = "best",
) -> "GraphModel":
    """Return the model of a checkpoint, on the CPU, in the checkpoint's precision, ready to evaluate.

    :param weights: of the epoch with the best validation metric, or the last ones
    :raises UserError: unknown architecture or version; no best weights yet; weights that do not fit
    """
    from mtt.architectures.graph_model import GraphModel

    return _loaded(header, tensors, weights, GraphModel)


def load_potential(
    header: Header,
    tensors: "Tensors",
    weights: Literal["best", "last"] = "best",
) -> "Potential":
    """Return the same model as :func:`load_model`, in the metatomic interface."""
    from mtt.architectures.potential import Potential

    return _loaded(header, tensors, weights, Potential)


def _loaded(
    header: Header, tensors: "Tensors", weights: Literal["best", "last"], kind: "type[Model]"
) -> "Model":
    prefix = "best/" if weights == "best" else "model/"
    state = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    if not state:
        raise UserError(
            f"the checkpoint has no {weights} weights: no epoch had been validated when it was "
            "written",
            hint="use the last weights (--weights last), or train for at least one epoch",
        )
    model = _built(header, kind)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"the weights of the checkpoint do not fit its architecture: {error}"
        ) from error
    # Those of other weights say nothing of these.
    if weights == "best":
        model.set_uncertainties(_uncertainties(header, tensors))
    return model.eval()


def _uncertainties(header: Header, tensors: "Tensors") -> "list[Uncertainty]":
    from mtt.architectures.uncertainty import Uncertainty

    return [
        Uncertainty(
            record.target, *(tensors[f"uncertainty/{record.target}/{kind}"] for kind in MATRICES)
        )
        for record in header.uncertainties
    ]


def feature_sizes(header: Header) -> dict[str, int]:
    """Return how many features the model of a header has for each target with an uncertainty.

    :raises UserError: its architecture has none
    """
    import torch

    from mtt.architectures.interface import features_of
    from mtt.data.batch import collate
    from mtt.data.dataset import Dataset

    potential = build_model(header).eval()
    names = [record.target for record in header.uncertainties]
    if not potential.core.has_features:
        raise UserError(f"the architecture {header.architecture} has no features of a last layer")
    nothing = Dataset([], potential.atomic_types, potential.cutoff, potential.targets)
    dtype = precision_dtype(header.precision)
    with torch.no_grad():
        graph = collate(nothing, [], dtype).graph
        raw = potential.core(graph, [features_of(name) for name in names])
    return {name: int(raw[features_of(name)].shape[1]) for name in names}


def precision_dtype(precision: int) -> "torch.dtype":
    """Return the torch dtype of 32 or 64 bits."""
    import torch

    return torch.float64 if precision == 64 else torch.float32


def expected_tensors(header: Header) -> "Tensors | None":
    """Return tensors without memory, by the names, shapes and types of the model's state dict.

    None for a core that computes while it is built: only loading tells whether weights fit it.
    """
    import torch

    try:
        with torch.device("meta"), _no_numbers():
            return dict(build_model(header).state_dict())
    except (NotImplementedError, RuntimeError):
        return None


def _no_numbers() -> "TorchFunctionMode":
    """Leaves weights as they were allocated.

    Random numbers for weights that have no memory would import torch's compiler, which takes seconds.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class NoNumbers(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            named = kwargs or {}
            if getattr(function, "__module__", "") == torch.nn.init.__name__:
                return named["tensor"] if "tensor" in named else args[0]
            return function(*args, **named)

    return NoNumbers()
