"""Checkpoints, retries, order and pause of the queue, deletion in two steps.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTS = ("resume_step", "checkpoint_step", "fruitless")
TIMES = ("checkpoint_at", "not_before", "expected_seconds", "files_removed_at")


def upgrade() -> None:
    """Columns of `runs`, and the table `queues`."""
    for name in COUNTS:
        op.add_column("runs", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    for name in TIMES:
        op.add_column("runs", sa.Column(name, sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("after_run_id", sa.String(length=12), nullable=True))
    op.create_table(
        "queues",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("paused_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_queues_owner")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
    )
