"""Base models at a fixed revision and quantization, prepared once, named by their digest."""
