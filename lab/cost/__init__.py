"""What a session costs a worker, beside a handler without one."""
