"""The folder of a run: lock, signals, checkpoints that stay, and which one to resume from."""
