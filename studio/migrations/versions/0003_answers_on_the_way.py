"""What a model in training answers to a few held-out prompts.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table `samples`."""
    op.create_table(
        "samples",
        sa.Column("run_id", sa.String(length=12), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_samples_run_id")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_samples_owner")),
        sa.PrimaryKeyConstraint("run_id", "step", "number", name=op.f("pk_samples")),
        sqlite_with_rowid=False,
    )
