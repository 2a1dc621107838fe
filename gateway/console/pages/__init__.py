"""One file a page: what it shows as a frozen dataclass, and what its address does."""
