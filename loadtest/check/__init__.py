"""The checkers: what one request says, which promises it has to keep, and two independent judges."""
