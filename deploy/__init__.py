"""Starting, checking and stopping the stack; the Makefile's targets are commands of this package."""
