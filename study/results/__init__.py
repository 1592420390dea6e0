"""From records to cells, comparisons and the answers of `compare`. Fractions only."""
