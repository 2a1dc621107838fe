"""What an answer is worth where a pure function cannot say it: a model asked, or code run."""
