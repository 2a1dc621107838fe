"""One protocol between builder and engine: tokens in; tokens and log-probabilities out."""
