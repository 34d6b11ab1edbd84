"""An options file that states an older version gets the defaults of that version."""

from mtt.options.reading.document import Node
from mtt.options.schema.base import OPTIONS_VERSION
from mtt.options.schema.options import Options
from mtt.options.schema.training import TrainingHypers
from mtt.options.stored import defaults_of


def fill_old_defaults(root: Node, model: type[Options]) -> None:
    """Write out, on the tree, the defaults that today's version would fill in otherwise.

    :param model: the options of the architecture, whose own defaults stay
    """
    version = root.get("version")
    if version is None or type(version.value) is not int or not 0 < version.value < OPTIONS_VERSION:
        return
    old = defaults_of(version.value)
    root.value["version"] = version.replaced(OPTIONS_VERSION)
    architecture = root.get("architecture")
    if architecture is None or not isinstance(architecture.value, dict):
        return
    training = architecture.value.setdefault("training", architecture.replaced({}))
    if isinstance(training.value, dict):
        own = model.trainer().model_fields
        for name, value in old.items():
            if own[name].default == TrainingHypers.model_fields[name].default:
                training.value.setdefault(name, training.replaced(value))
