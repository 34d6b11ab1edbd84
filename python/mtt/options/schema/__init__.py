"""The typed models of all options; defaults and limits have no other source."""
