"""Pieces of pages: theme, markup, charts, the frame, and Gradio components with a rule of ours in them."""

from gradio import component_meta


def _write_nothing(*_: object) -> None:
    """Stands for Gradio's writer of `.pyi` files: it would put one beside each module that derives a component."""


component_meta.create_or_modify_pyi = _write_nothing
