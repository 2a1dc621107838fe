"""`python -m docs.make`: the pages and pictures that are made from the code, where they changed."""

from __future__ import annotations

from docs.make import pictures, reference

if __name__ == "__main__":
    reference.main()
    pictures.main()
