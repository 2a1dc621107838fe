"""One task trained with many settings: which are tried, which are ended early, which one won."""
