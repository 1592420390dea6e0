"""What a search is, tries and finds; `study.search` is its stage of a run."""
