"""Images: the pinned mounts that a version of an architecture trains, exports and evaluates in.

``catalogue`` says which there are, ``build`` makes one, ``store`` finds those on this machine,
``layout`` checks that one is what the catalogue promises, ``runtimes`` runs it, and ``dispatch``
decides when a command has to. Nothing here imports torch.
"""
