"""Rows against rows; `study.compare` is its core."""
