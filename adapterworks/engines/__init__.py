"""The engines that builders are given: a vLLM started for them, and a running gateway."""
