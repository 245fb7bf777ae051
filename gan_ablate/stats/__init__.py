"""Statistics as pure functions over numpy arrays. No torch, no files."""
