"""The verbs of the command line: each is a thin layer over the Python function of the same name."""
