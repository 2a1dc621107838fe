"""The endpoint picker: behind Envoy, which engine a request goes to; see `service.py`."""
