"""What a run will meet on this machine or cluster."""
