"""Decoders: from a state, and a memory that is attended to, to a sequence of tokens."""
