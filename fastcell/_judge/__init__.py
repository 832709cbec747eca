"""The judge: times fastcell and other libraries in turns, in one process.

`engines` loads the peers, `modes` lists what can be timed, `rows.measure_case` compares
the outputs of one case and then times it. ``fastcell bench --against`` and
``bench/compare.py`` are its two front ends.
"""
