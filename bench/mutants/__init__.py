"""Mutants: does the suite notice when the code is wrong?

Invariant: a mutant counts only if the tests chosen for it pass on the code as it is and fail when
its file cannot be imported; so neither a broken suite nor a copy that nobody imports looks like a
kill. The working tree is never changed: a mutant lives in a copy of it.

    python -m bench.mutants [--area limits] [--seed 1] [--list]
"""
