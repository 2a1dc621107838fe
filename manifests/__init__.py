"""What should exist: manifests, references and digests.

Invariant: nothing in this package touches the network, a database or torch; it turns text into
validated, frozen values and values into digests.
"""
