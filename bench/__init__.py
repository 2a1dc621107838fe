"""Measurements: `python -m bench` runs them all, `python -m bench.NAME` one of them.

Every figure is a ratio of two things measured side by side, interleaved, in one run. Results go to
stdout as a table and to bench/results/ as JSON; docs/log.md and its pages keep the history.
"""
