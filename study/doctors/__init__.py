"""What `study.doctor` looks at."""
