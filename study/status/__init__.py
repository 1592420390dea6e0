"""How far a run is, told while it works and afterwards."""
