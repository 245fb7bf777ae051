"""W&B, kept at arm's length: a process of its own speaks with it, so no server and no bug there can hold a run up."""
