"""Prometheus beside a running stack: what the stack as a whole is like, which alerts ring, and what is drawn of it."""
