"""How large, how long and how much room: before a run, and beside it."""
