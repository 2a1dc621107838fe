"""Models asked on the same rows: answers, metrics, intervals, gates, retention, fingerprint."""
