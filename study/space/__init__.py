"""Space files: YAML, overrides, validation, and the study that they describe."""
