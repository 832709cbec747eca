"""Comparison with PyTorch on real data: ``python bench/applications run DATA ROW``."""
