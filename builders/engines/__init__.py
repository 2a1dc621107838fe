"""One protocol between what is built and what answers: tokens in; tokens and log-probabilities out."""
