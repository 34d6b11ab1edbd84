"""What a run tells people: progress, metrics, plots, verification reports."""
