"""Decoding: how a sequence of tokens is chosen from the scores of a model."""
