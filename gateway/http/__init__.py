"""The listener: sockets, connections, the ASGI application and its routes."""
