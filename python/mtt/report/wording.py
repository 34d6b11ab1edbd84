"""Numbers and names on their way into a page: nothing that a model says may be markup."""

import html

from mtt.printable import printable


def safe(content: object, longest: int | None = None) -> str:
    """Escaped for HTML and for attributes, with what is not visible made so."""
    return html.escape(printable(str(content), longest), quote=True)


def number(value: float | None, digits: int = 3) -> str:
    """Short, or nothing: 0.00123, 4.5e-8, 12."""
    if value is None:
        return ""
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def size(count: float | None) -> str:
    """Bytes for people."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
