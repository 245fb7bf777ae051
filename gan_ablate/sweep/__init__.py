"""Sweeps: a pool on this machine, or Slurm, trains the runs of a study that the store does not have. No torch here."""
