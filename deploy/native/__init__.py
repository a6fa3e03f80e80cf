"""The stack without Docker: nginx, a Redis-compatible server and the workers under one supervisord."""
