"""What compare.py times and how it reports it: modes, bars, roofline, tables."""
