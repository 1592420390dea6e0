"""The embedded default world: a generated language, a tiny encoder and a task whose truth is known."""
