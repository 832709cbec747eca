"""Heads: what the outputs of a model mean, and their losses."""
