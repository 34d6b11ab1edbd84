"""Data: readers, splits, neighbor lists and batches. numpy everywhere except in ``batch``, which makes tensors."""
