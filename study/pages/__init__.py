"""How results look: tables, figures, the page."""
