"""What sizes of targets end at: in options, in models, and in the files of both."""

from typing import Final

# Numbers that a structure or an atom has of one target: components times properties, or the members of an
# ensemble.
MAX_PROPERTIES: Final = 131072
