"""Tunesmith's two thin shells around the core: the web process and the command line."""
