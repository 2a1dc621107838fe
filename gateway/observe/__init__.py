"""What the gateway tells operators: metrics, logs, traces."""
