"""Verification of a model file by the C++ program; ``mtt.verify(path)`` does it from Python."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtt.verify.report import Report


class _CallableModule(ModuleType):
    """The package is the noun and ``mtt.verify(path)`` the verb: both have this one name."""

    def __call__(self, *arguments: Any, **options: Any) -> "Report":
        from mtt.verify.run import verify

        return verify(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
