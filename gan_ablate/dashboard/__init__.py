"""A page of a root on this machine alone, read-only, that updates itself while a sweep runs (docs/dashboard.md)."""
