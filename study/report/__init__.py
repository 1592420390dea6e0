"""How results look: tables, figures, comparisons in words, and the page. Importing it loads neither torch nor Ray."""
