"""Sessions: streaming inference, one step at a time."""
