"""Servers, workers and proxies that an experiment or a test starts, stops and breaks."""
