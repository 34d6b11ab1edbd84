"""Checkpoint in, standalone TorchScript file out, with provenance and a golden pack."""
