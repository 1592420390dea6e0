"""The records of a study: whole files, checksums, and a study at a URL."""
