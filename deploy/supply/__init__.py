"""What the stack is made of: the digests of its images, lists of all parts, and what is known against them."""
