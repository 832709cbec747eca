"""Heads: what the outputs of a model mean, with the loss that belongs to them."""
