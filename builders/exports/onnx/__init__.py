"""ONNX: torch's graph of a decoder with its cache, its numbers, and what stands beside it."""
