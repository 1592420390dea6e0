"""Optuna searches on validation data before the grid."""
