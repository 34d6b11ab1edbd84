"""Texts out of files that others wrote, on their way to a terminal."""


def printable(text: str, longest: int | None = None) -> str:
    """The text with everything that is not visible as an escape, such as ``\\x1b``.

    Terminals obey some characters instead of showing them, and others turn a line around.

    :param longest: what is longer is cut, with dots at its end
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
