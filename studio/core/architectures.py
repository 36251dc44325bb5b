"""The language models that the installed transformers knows, read from its source: importing it would load torch."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

_TABLE = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
_PLACE = ("models", "auto", "modeling_auto.py")
_NOT_TEXT = "ForConditionalGeneration"
"""What also takes pictures or sound: its layers are named otherwise and its template asks for more than words."""


@cache
def causal_models() -> dict[str, frozenset[str]]:
    """`model_type` to the classes that answer with text; empty where transformers is not installed or was rearranged.

    Where it is empty nobody is refused: loading will say what is wrong.
    """
    found = importlib.util.find_spec("transformers")
    if found is None or not found.origin:
        return {}
    path = Path(found.origin).parent.joinpath(*_PLACE)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return next((_entries(node.value) for node in tree.body if isinstance(node, ast.Assign) and _is_table(node)), {})


def _is_table(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == _TABLE for target in node.targets)


def _entries(value: ast.expr) -> dict[str, frozenset[str]]:
    """`OrderedDict([("llama", "LlamaForCausalLM"), ...])`; a class may also be a tuple of classes."""
    pairs = value.args[0] if isinstance(value, ast.Call) and value.args else value
    try:
        known = dict(ast.literal_eval(pairs))
    except (ValueError, TypeError):
        return {}
    classes = {kind: (names,) if isinstance(names, str) else tuple(names) for kind, names in known.items()}
    return {kind: frozenset(name for name in names if not name.endswith(_NOT_TEXT)) for kind, names in classes.items()}
