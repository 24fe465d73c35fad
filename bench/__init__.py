"""Benchmarks: every speed and size that the docs state comes from a script in here, run side by side with a rival.

``python -m vecstore.bench DUMP``                                  codecs and libraries at byte budgets: vecstore bench
``python -m vecstore.bench.scripts.tables NAME=VECTORS``           the tables of recall in the documentation
``python -m vecstore.bench.scripts.lookup VECTORS.npy KEYS.txt``   lookups and cold start against dict and numpy
``python -m vecstore.bench.scripts.conversion``                    speed and peak memory of converting a large dump
"""
