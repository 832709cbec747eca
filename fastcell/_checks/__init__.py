"""Checks of what a caller hands over: arrays, numbers, names and files."""
