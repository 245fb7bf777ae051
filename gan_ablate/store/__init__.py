"""A root of runs on disk: claiming, publishing, merging, clearing up, status. Only this room writes into a root."""
