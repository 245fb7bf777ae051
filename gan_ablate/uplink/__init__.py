"""Weights & Biases. A separate process talks to it, so neither its server nor a bug of it can delay a run."""
