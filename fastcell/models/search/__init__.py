"""Decoding: greedy, beam search, sampling and CTC, from scores to tokens."""
