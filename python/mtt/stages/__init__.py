"""One file per arrow of the data flow: artefact in, artefact out."""
