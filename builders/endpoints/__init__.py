"""Models behind anybody's OpenAI-compatible address: compared with, judges, generators."""
