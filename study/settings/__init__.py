"""From the text of a settings file to checked values."""
