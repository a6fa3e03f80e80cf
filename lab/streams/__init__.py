"""`make longconn`: thousands of logged-in event streams, what they cost, and what becomes of them.

It opens and holds the streams over HTTP. What only the machine can tell, the memory of processes,
it asks through the commands that it is given with the stack.
"""
