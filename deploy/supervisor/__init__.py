"""supervisord, in Docker and natively: one program a worker, stopped in order, failing visibly."""
