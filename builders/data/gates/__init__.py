"""Data gates: what is wrong with the rows, before anything is trained on them.

One gate, one file; each is a pure function of the rows that names every offending row. The closed
table of gates and what is done about offences are in `run.py`.
"""
