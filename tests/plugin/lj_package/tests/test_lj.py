"""Lennard-Jones potentials keep what mtt asks of every architecture."""

from mtt.architectures.contract import ArchitectureContract


class TestLennardJones(ArchitectureContract):
    architecture = "lj"
