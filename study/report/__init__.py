"""How results look: tables, figures, comparisons in words, and the page. Importing it loads neither torch nor Ray."""

from study.report.publish import write_tables as write_tables
from study.report.tables import FORMATS as FORMATS
from study.report.tables import export as export
