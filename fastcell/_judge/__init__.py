"""The judge: fastcell against other libraries, interleaved in one process.

`engines` loads the peers, `modes` says what can be timed, `rows.measure_case` compares
the outputs of one case and then times it. ``fastcell bench --against`` and
``bench/compare.py`` are two front ends of it.
"""
