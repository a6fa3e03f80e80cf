"""`make proof-operations`: operations under load, every lost request counted; ours beside stock settings."""
