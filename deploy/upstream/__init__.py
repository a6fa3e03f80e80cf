"""nginx/upstream.conf, the single list of workers: read, checked, edited, and compared with an earlier one."""
