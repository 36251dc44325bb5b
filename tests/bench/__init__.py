"""Measured ratios against named peers. Never a timed assertion in the test suite."""
