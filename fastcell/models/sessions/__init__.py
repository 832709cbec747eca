"""Sessions: models that read a sequence step by step, as it arrives."""
