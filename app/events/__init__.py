"""Event streams: the hub that holds those of this worker, one stream, and reconnect jitter."""
