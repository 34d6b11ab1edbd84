"""What is in a checkpoint or a model file, and what differs between two; without torch."""
