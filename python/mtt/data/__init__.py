"""Data: readers, splits, neighbor lists and batches; only ``batch`` imports torch."""
