"""Making it exist: plan → data → train → evaluate → convert → publish.

Invariant: a build is a function of its plan; the same plan, data bytes and packages give the same
release.
"""
