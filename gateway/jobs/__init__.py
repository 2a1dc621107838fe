"""Fine-tuning jobs and batches over HTTP: rows of the queue in OpenAI's words."""
