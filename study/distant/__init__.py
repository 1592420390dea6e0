"""Studies at a URL and jobs on a cluster; `study.cluster` submits them."""
