"""Alembic's migrations of the records database; they travel in the wheel."""
