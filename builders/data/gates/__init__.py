"""Data gates: what is wrong with the rows, before anything is trained on them.

One gate, one file (and a line in `manifests/builtin.py`); each is a pure function of the rows that
names every offending row, and says its own default threshold and action. What is done about
offences is in `run.py`.
"""
