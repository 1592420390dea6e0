"""From records to cells, comparisons and the answers of `compare`. Fractions only."""

from study.results.aggregate import Cell as Cell
from study.results.aggregate import cells as cells
from study.results.comparison import Comparison as Comparison
from study.results.gather import Results as Results
