"""The load test: it drives a running stack over HTTP and proves that its sessions hold.

Nothing here imports the application; the stack is known by its paths, one cookie and one header.
"""
