"""What dry runs counted, and what was said before a run started.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The column `runs.forecast` and the table `measurements`."""
    op.add_column("runs", sa.Column("forecast", sa.JSON(), nullable=True))
    op.create_table(
        "measurements",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("wanted_at", sa.Float(), nullable=False),
        sa.Column("counted", sa.JSON(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("counted_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_measurements_owner")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_measurements")),
    )
