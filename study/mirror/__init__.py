"""MLflow as a mirror of the records; `study.tracking` is its front."""
