"""A study as a list of trials, each named by the content of all that may change its result."""
