"""The study: many trials of l3masking, planned, scheduled, recorded and compared."""
