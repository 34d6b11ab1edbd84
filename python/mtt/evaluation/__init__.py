"""Predictions of a model on data, and their errors."""
