"""A page that needs nothing else: no script, no font, no network."""

from mtt.report.style import STYLE
from mtt.report.wording import safe

# The browser refuses what escaping could have missed; pictures are part of the page itself.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, body: str, footer: str, width: int = 50) -> bytes:
    """Return the page.

    :param title: a text, which may be anything
    :param body: HTML, in which every text of others is escaped already
    :param footer: HTML as well
    :param width: of the text at most, in the size of its letters
    """
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title, 220)}</title><style>{STYLE}body{{max-width:{width}rem}}</style></head>"
        f"<body>{body}<footer>{footer}</footer></body></html>\n"
    )
    return text.encode("utf-8", "backslashreplace")
