"""Using it: an OpenAI-compatible gateway in front of vLLM.

Invariant: the engine only ever sees digests, and no answer is given by a release that was not
proved in that engine.
"""
