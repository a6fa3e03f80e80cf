"""Operating a running stack, in Docker or without: reload, scale, drain, rolling restart, status."""
