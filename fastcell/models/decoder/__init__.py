"""Decoders: from an initial state and an attended memory to a sequence of tokens."""
