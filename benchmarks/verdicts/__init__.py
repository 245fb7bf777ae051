"""What the verdicts are worth, by simulation: `python -m benchmarks.verdicts`."""
