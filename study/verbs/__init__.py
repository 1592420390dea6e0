"""The verbs of the command line, by what they are about. Heavy imports stay inside the functions."""
