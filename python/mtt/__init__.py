"""mtt: train interatomic potentials, keep every checkpoint loadable, export and verify them for MD engines."""

__version__ = "0.1.0"
