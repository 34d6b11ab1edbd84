"""Architectures: what maps a neighbor graph to per-atom energies. They never own a training loop."""
