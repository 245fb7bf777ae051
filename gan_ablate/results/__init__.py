"""The only reader of a root: files checked and parsed once, given as typed runs and frames. No torch."""
