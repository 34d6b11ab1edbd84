"""Where a file comes from: the chain from data to report, signatures, training once more."""
