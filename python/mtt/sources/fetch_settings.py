"""How sources are fetched."""

from dataclasses import dataclass
from typing import Final

from mtt.tokens import Token

GIGABYTE: Final = 10**9


@dataclass(frozen=True)
class Settings:
    """How sources are fetched. ``max_size`` is in bytes, times are in seconds.

    ``sha256`` pins a source that is not pinned itself; ``revision`` is for the hub alone.
    """

    allow_http: bool = False
    token: Token | None = None
    revision: str | None = None
    sha256: str | None = None
    offline: bool = False
    max_size: int = 10 * GIGABYTE
    timeout: float = 30.0
    retries: int = 4
    backoff: float = 0.5
