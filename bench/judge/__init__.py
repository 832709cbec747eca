"""The modules of compare.py: modes, shapes, bars, roofline, tables, options."""
