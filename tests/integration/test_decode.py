"""The decode of a mixed batch, held against the library's own `generate`, in fp32 and in this process."""

import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from studio.core.errors import StudioError
from tests.integration.tiny import make_tiny_adapter, make_tiny_model
from worker.engine.models import LoadedModel
from worker.engine.prompts import Prompts
from worker.engine.row import Row, Token
from worker.engine.sampling import Sampling
from worker.engine.scheduler import decode
from worker.engine.text import TextStream

QUESTIONS = ["Hi", "The capital of France is Paris. " * 6, "東京 🙂", "Anna sends apples", "naïve " * 20]


class Collected:
    """A listener that keeps what it hears, and may stop its row after some tokens."""

    def __init__(self, stop_after: int = 0) -> None:
        self.ids: list[int] = []
        self.reason = ""
        self.error: StudioError | None = None
        self.row: Row | None = None
        self.stop_after = stop_after

    def token(self, token: Token) -> bool:
        self.ids.append(token.id)
        if self.row is not None and len(self.ids) == self.stop_after:
            self.row.stopped.set()
        return False

    def end(self, reason: str) -> None:
        self.reason = reason

    def fail(self, error: StudioError) -> None:
        self.error = error


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Products of this size are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _renamed_property() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5.23 for a property that is being renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model and two adapters."""
    root = tmp_path_factory.mktemp("models")
    base = make_tiny_model(root / "base", seed=3)
    return {
        "base": base,
        "one": make_tiny_adapter(base, root / "one", 1),
        "two": make_tiny_adapter(base, root / "two", 2),
    }


@pytest.fixture
def loaded(folders: dict[str, Path]) -> LoadedModel:
    """The base in fp32 with both adapters attached."""
    model = LoadedModel(folders["base"], torch.float32)
    model.attach("one", folders["one"])
    model.attach("two", folders["two"])
    return model


def ask(loaded: LoadedModel, prompts: Prompts, name: str, question: str, **more: object) -> Row:
    """A row of `name` with a listener that collects."""
    told: dict[str, object] = {"ends": prompts.ends, "room": 30, **more}
    ids = prompts.ids([{"role": "user", "content": question}])
    return Row(prompt=ids, key=loaded.key(name), listener=Collected(), **told)  # type: ignore[arg-type]


def ids(row: Row) -> list[int]:
    """What the row's listener collected."""
    assert isinstance(row.listener, Collected)
    return row.listener.ids


def reference(folders: dict[str, Path], name: str, row: Row, **more: object) -> list[int]:
    """What `generate` of a freshly loaded model gives, greedily, without the end of turn."""
    model = AutoModelForCausalLM.from_pretrained(folders["base"], dtype=torch.float32)
    if name != "base":
        model = PeftModel.from_pretrained(model, folders[name])
    model.eval()
    prompt = torch.tensor([row.prompt])
    out = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=row.room, do_sample=False, **more
    )
    return [token for token in out[0, prompt.shape[1] :].tolist() if token not in row.ends]


def test_each_row_of_a_mixed_batch_equals_its_own_generate_token_for_token(
    loaded: LoadedModel, folders: dict[str, Path]
) -> None:
    prompts, names = Prompts(folders["base"]), ["base", "one", "two"]
    rows = [
        (name, ask(loaded, prompts, name, question, room=10 + 7 * ((at + shift) % 5)))
        for shift, name in enumerate(names)
        for at, question in enumerate(QUESTIONS)
    ]
    random.Random(0).shuffle(rows)
    decode(loaded, [row for _, row in rows])
    for name, row in rows:
        assert ids(row) == reference(folders, name, row)


def test_the_base_is_the_base_again_once_all_adapters_are_gone(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PEFT names the adapter that is active now
        for name in ("one", "two"):
            loaded.detach(name)
    row = ask(loaded, prompts, "base", QUESTIONS[0])
    decode(loaded, [row])
    assert ids(row) == reference(folders, "base", row)
    loaded.attach("again", folders["two"])
    row = ask(loaded, prompts, "again", QUESTIONS[0])
    decode(loaded, [row])
    assert ids(row) == reference(folders, "two", row)


def test_a_drawn_answer_does_not_depend_on_its_company(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])

    def drawn() -> Row:
        return ask(loaded, prompts, "one", QUESTIONS[1], sampling=Sampling(temperature=0.9, top_p=0.9), seed=11)

    alone, together = drawn(), drawn()
    decode(loaded, [alone])
    decode(loaded, [ask(loaded, prompts, "base", QUESTIONS[4], sampling=Sampling(temperature=1.2), seed=11), together])
    assert ids(alone) == ids(together)


def test_a_stopped_row_ends_within_a_token_and_the_others_go_on(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    stopped, other = (ask(loaded, prompts, name, QUESTIONS[0], room=20, ends=frozenset()) for name in ("one", "base"))
    stopped.listener = Collected(stop_after=3)
    stopped.listener.row = stopped
    decode(loaded, [stopped, other])
    assert stopped.listener.reason == "stopped" and len(ids(stopped)) == 3
    assert len(ids(other)) == 20


def test_a_row_whose_client_left_while_it_waited_is_not_begun(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    row = ask(loaded, Prompts(folders["base"]), "one", QUESTIONS[0])
    row.stopped.set()
    decode(loaded, [row])
    assert ids(row) == [] and row.over


def test_an_end_of_turn_ends_the_row_and_is_not_part_of_it(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    free = ask(loaded, prompts, "one", QUESTIONS[0], ends=frozenset())
    decode(loaded, [free])
    ending = ask(loaded, prompts, "one", QUESTIONS[0], ends=frozenset([ids(free)[6]]))
    decode(loaded, [ending])
    assert ids(ending) == ids(free)[: ids(free).index(ids(free)[6])]
    assert ending.listener.reason == "stop"  # type: ignore[attr-defined]


def test_broken_numbers_of_one_adapter_do_not_spoil_the_base(loaded: LoadedModel, folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    key = loaded.key("two")
    for name, weight in loaded.base.named_parameters():
        if f".{key}." in name:
            weight.data.fill_(float("nan"))
    broken, base = (ask(loaded, prompts, name, QUESTIONS[0]) for name in ("two", "base"))
    decode(loaded, [broken, base])
    assert isinstance(broken.listener, Collected) and broken.listener.error is not None
    assert ids(base) == reference(folders, "base", base)


def test_the_templates_end_of_turn_ends_an_answer_though_no_config_names_it(folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    assert prompts.ends >= prompts.template_ends()
    assert [prompts._tokenizer.id_to_token(at) for at in prompts.template_ends()] == ["<|im_end|>"]


def test_streamed_text_is_the_text_of_all_tokens_and_never_half_a_character(folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    tokens = prompts.encode("naïve 東京 🙂 été 👩‍👩‍👧 end")
    stream = TextStream(prompts.text)
    pieces = [stream.push(token) for token in tokens]
    assert all("\ufffd" not in piece for piece in pieces)
    assert "".join(pieces) + stream.finish() == "naïve 東京 🙂 été 👩‍👩‍👧 end"
    for seed in range(30):
        noise = [random.Random(seed).randrange(400) for _ in range(60)]
        stream = TextStream(prompts.text)
        assert "".join([stream.push(token) for token in noise]) + stream.finish() == prompts.text(noise)


def test_a_stop_string_spread_over_tokens_is_held_back_whole(folders: dict[str, Path]) -> None:
    prompts = Prompts(folders["base"])
    stream = TextStream(prompts.text, ["END", "\n\n"])
    said = ""
    for token in prompts.encode("a E EN \n b EN"):
        said += stream.push(token)
    assert not stream.stopped and said == "a E EN \n b "
    for token in prompts.encode("D and more"):
        said += stream.push(token)
    assert stream.stopped and said + stream.finish() == "a E EN \n b "
