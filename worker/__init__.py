"""The side that knows torch: consumer, trainer and engine."""
