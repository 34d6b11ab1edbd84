"""Trains interatomic potentials, keeps checkpoints loadable, verifies exports for MD engines."""

__version__ = "0.1.0"
