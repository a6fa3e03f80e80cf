"""One Tornado worker of the stack: `python -m app --port 8001`."""
