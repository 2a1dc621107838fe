"""A fleet simulated: many gateways, engines and adapters; see `__main__.py`."""
