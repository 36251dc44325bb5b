"""A model folder's tokenizer and chat template, without transformers: `tokenizers` alone keeps the process small."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from studio.core.errors import Refused
from studio.core.learnt import ANOTHER_MODEL, ChatTemplate, Encoded, Span

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class _Offsets(Sequence[Span]):
    """The spans of tokens, asked one by one: labels need few of them, and a list of all costs as much as the ids."""

    __slots__ = ("_encoding", "span")

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self.span = encoding.token_to_chars  # the same as an item, without a step through Python

    def __len__(self) -> int:
        return len(self._encoding)

    def __getitem__(self, place: Any) -> Any:
        return self._encoding.offsets[place] if isinstance(place, slice) else self.span(place)


class TokenizerEncoder:
    """`learnt.Encoder` on `tokenizers.Tokenizer`: the ids of the HF fast tokenizer, `add_special_tokens=False`."""

    def __init__(self, tokenizer: Tokenizer, special: dict[str, str]) -> None:
        """`special` maps names (`eos_token`) to their text."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        begun = tokenizer.encode("", add_special_tokens=True).tokens
        self.bos: str = begun[0] if begun and begun[0] == special.get("bos_token") else ""
        # It adds nothing to the ids, yet byte-level ones shave spaces off the offsets: "  x" would lose its indent.
        tokenizer.post_processor = None
        added = tokenizer.get_added_tokens_decoder()
        named = [tokenizer.token_to_id(text) for text in special.values()]
        flagged = [id_ for id_, token in added.items() if token.special]
        self.special_ids: frozenset[int] = frozenset([*flagged, *(id_ for id_ in named if id_ is not None)])
        self.eos_id: int | None = tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
        self._tokenizer = tokenizer

    def encode(self, text: str) -> Encoded:
        """Tokens of one text; offsets in characters."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, _Offsets(encoding))

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokens of many texts, on all cores."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Encoded(encoding.ids, _Offsets(encoding)) for encoding in encodings]


@dataclass(frozen=True)
class Chat:
    """What turns messages into tokens for one model. `context` is its longest input in tokens, 0 where it says none."""

    template: ChatTemplate
    encoder: TokenizerEncoder
    context: int


def load_chat(folder: Path) -> Chat:
    """Read tokenizer and chat template of a model folder. Raises `Refused` where one is missing or damaged."""
    if not (folder / "tokenizer.json").is_file():
        raise Refused("This model has no tokenizer.json, which the studio needs.", ANOTHER_MODEL)
    config = _object(folder / "tokenizer_config.json")
    special = _special_tokens(_object(folder / "special_tokens_map.json"), config)
    template = _template(folder, config)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain exceptions
        raise Refused("This model's tokenizer.json is damaged.", ANOTHER_MODEL) from error
    return Chat(ChatTemplate(template, special), TokenizerEncoder(tokenizer, special), _context(folder, config))


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; an empty one where there is no file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"This model's {path.name} is damaged.", ANOTHER_MODEL) from error
    return value if isinstance(value, dict) else {}


def _special_tokens(*sources: dict[str, Any]) -> dict[str, str]:
    """The named special tokens as text; later sources win. Each stands as a string or as `{"content": ...}`."""
    found = {}
    for source in sources:
        for name in _SPECIAL:
            value = source.get(name)
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                found[name] = value
    return found


def _template(folder: Path, config: dict[str, Any]) -> str:
    """The chat template: its own file first, then the config's string, or the one called `default` in its list."""
    file = folder / "chat_template.jinja"
    value: Any = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(value, list):
        named = {t["name"]: t["template"] for t in value if isinstance(t, dict) and {"name", "template"} <= t.keys()}
        value = named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
    if not isinstance(value, str) or not value.strip():
        raise Refused("This model has no chat template, so it holds no chats.", "Choose an instruct model.")
    return value


def _context(folder: Path, config: dict[str, Any]) -> int:
    model = _object(folder / "config.json")
    inner = model.get("text_config")
    known = [model.get("max_position_embeddings"), config.get("model_max_length")]
    known.append(inner.get("max_position_embeddings") if isinstance(inner, dict) else None)
    sane = [int(n) for n in known if isinstance(n, int | float) and 0 < n < 1e9]  # 1e30 stands for "none"
    return min(sane, default=0)
