"""Models from anywhere: a path, a web address or a file of the Hugging Face hub in, a local file out.

``read`` makes a :class:`Source` of what was typed, ``fetch`` a file of a source. Only what is needed is
imported: a local file costs nothing.
"""

from mtt.sources.fetch import Fetched, fetch
from mtt.sources.fetch_settings import Settings
from mtt.sources.source import HubFile, LocalFile, Source, WebFile, read
from mtt.tokens import Token

__all__ = [
    "Fetched",
    "HubFile",
    "LocalFile",
    "Settings",
    "Source",
    "Token",
    "WebFile",
    "fetch",
    "read",
]
