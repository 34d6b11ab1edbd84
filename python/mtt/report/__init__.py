"""What people see: the terminal, metrics, pictures, pages."""

import logging

# Nobody needs to hear from it that a home folder has no place for the names of fonts.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
