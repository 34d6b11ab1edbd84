"""Architectures: what maps a neighbor graph to per-atom energies. They never own a training loop.

Whatever computes imports this: a torch that the compiled parts do not fit is told now, not after days of
training, when the exported model is to be verified.
"""

from mtt.compiled import check_installed

check_installed()
