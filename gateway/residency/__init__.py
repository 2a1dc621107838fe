"""Which releases an engine holds, and the proof that lets it answer for them."""
