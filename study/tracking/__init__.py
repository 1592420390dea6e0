"""MLflow as a mirror of the records."""
