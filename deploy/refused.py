"""The one exception a command ends with: something the user can put right, said in a sentence."""


class Refused(Exception):
    """The command cannot go on; the text says why and what to do.  Shown without a traceback."""
