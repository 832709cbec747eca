"""Checks of arguments: arrays, numbers, names and files."""
