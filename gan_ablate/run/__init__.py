"""One run: a recipe trained, checkpointed and measured in its folder. Here torch begins."""
