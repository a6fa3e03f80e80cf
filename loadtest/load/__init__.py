"""The load: browsers, the recorder behind each request, and the processes that run them."""
