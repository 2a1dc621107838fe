"""What was asked and answered, kept by consent and sealed, and what people said of it."""
