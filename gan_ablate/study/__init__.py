"""A study: a YAML file that expands to recipes by a named design. No torch."""
