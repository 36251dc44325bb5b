"""A model folder's tokenizer and chat template, without transformers: `tokenizers` alone keeps the process small."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from studio.core.chat_templates import AUTO, DEFAULT, OFFERED, source_of
from studio.core.errors import Refused
from studio.core.learnt import ANOTHER_MODEL, ChatTemplate, Encoded, Span
from studio.core.model_build import first_count
from studio.core.token_rules import TokenRules, token_rules

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
    """What turns messages into tokens for one model. `context` is its longest input in tokens, 0 where it says none.

    `written` names the template: "own" is the model's, else one of ours.
    """

    template: ChatTemplate
    encoder: TokenizerEncoder
    context: int
    written: str
    rules: TokenRules


def load_chat(folder: Path, template: str = AUTO) -> Chat:
    """Read tokenizer and chat template of a model folder.

    `template` is "auto" (the model's own; without one the plain one of ours) or the name of one of ours. Raises
    `Refused` where something is missing or damaged, or the model lacks the tokens that the template needs.
    """
    if not (folder / "tokenizer.json").is_file():
        raise Refused("This model has no tokenizer.json, which the studio needs.", ANOTHER_MODEL)
    config, model = _object(folder / "tokenizer_config.json"), _object(folder / "config.json")
    special = _special_tokens(_object(folder / "special_tokens_map.json"), config)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain exceptions
        raise Refused("This model's tokenizer.json is damaged.", ANOTHER_MODEL) from error
    special = _with_end(special, model, tokenizer)
    encoder = TokenizerEncoder(tokenizer, special)
    own = own_template(folder) if template == AUTO else None
    written = "own" if own else DEFAULT.name if template == AUTO else template
    source = own or _given(written, special, encoder.bos, tokenizer)
    plain, added = tokenizer.get_vocab_size(with_added_tokens=False), tokenizer.get_added_tokens_decoder()
    vocabulary = max(plain, 1 + max(added, default=-1))
    rules = token_rules(special, tokenizer.token_to_id, vocabulary, first_count(model, "vocab_size"))
    return Chat(ChatTemplate(source, special), encoder, _context(model, config), written, rules)


def own_template(folder: Path) -> str | None:
    """The folder's chat template; None where it has none. Raises `Refused` for one that is no text.

    Its own file comes first, then the config's string, or the one called `default` in its list.
    """
    file, packed = folder / "chat_template.jinja", folder / "chat_template.json"
    try:
        value: Any = file.read_text(encoding="utf-8") if file.is_file() else None
    except ValueError as error:
        raise Refused("This model's chat template is no text.", ANOTHER_MODEL) from error
    value = value or _object(folder / "tokenizer_config.json").get("chat_template")
    value = value or _object(packed).get("chat_template")
    if isinstance(value, list):
        named = {t["name"]: t["template"] for t in value if isinstance(t, dict) and {"name", "template"} <= t.keys()}
        value = named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
    if value is not None and not isinstance(value, str):
        raise Refused("This model's chat template is damaged.", ANOTHER_MODEL)
    return value if value and value.strip() else None


def _given(name: str, special: dict[str, str], bos: str, tokenizer: Tokenizer) -> str:
    """The source of one of our templates. Raises `Refused` where the model has no token to end an answer with."""
    offered = OFFERED.get(name)
    if offered is None:
        raise Refused(f"There is no chat template called {name[:40]!r}.", f"Choose one of: {', '.join(OFFERED)}.")
    missing = [token for token in offered.needs if tokenizer.token_to_id(token) is None]
    if missing:
        words = f"This model's vocabulary has no {missing[0]}, which the {name} template needs."
        raise Refused(words, f"Take the {DEFAULT.name} template.", field="base.chat_template")
    if not offered.needs and "eos_token" not in special:
        raise Refused("This model names no token that ends a text, so it would never stop.", ANOTHER_MODEL)
    return source_of(offered, bool(bos))


def _with_end(special: dict[str, str], model: dict[str, Any], tokenizer: Tokenizer) -> dict[str, str]:
    """With the end token that only config.json names, by its id."""
    named = model.get("eos_token_id")
    number = named[0] if isinstance(named, list) and named else named
    if "eos_token" in special or not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return special
    text = tokenizer.id_to_token(number)
    return {**special, "eos_token": text} if text else special


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


def _context(model: dict[str, Any], config: dict[str, Any]) -> int:
    inner = model.get("text_config")
    known = [model.get("max_position_embeddings"), config.get("model_max_length")]
    known.append(inner.get("max_position_embeddings") if isinstance(inner, dict) else None)
    sane = [int(n) for n in known if isinstance(n, int | float) and 0 < n < 1e9]  # 1e30 stands for "none"
    return min(sane, default=0)
