"""The errors that molflow raises on purpose."""


class MolflowError(ValueError):
    """Something that the caller can put right.

    The message is one sentence or two: the argument, its value, what is allowed, what to do.
    The command line prints it without a traceback and exits with status 2.
    """
