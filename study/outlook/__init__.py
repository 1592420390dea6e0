"""How large, how long, how much room: before a run, and beside it."""
