"""fastcell and PyTorch on real data: ``python bench/applications run DATA ROW...``."""
