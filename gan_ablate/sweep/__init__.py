"""Sweeps: a study in YAML becomes recipes, a store keeps what is done, a local pool does the rest. No torch here."""
