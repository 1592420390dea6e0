"""Whether a study's folder is what it claims to be, for somebody who did not make it.

Everything is only read: nothing in the folder is written, moved or run. A module checks one kind of file.
"""
