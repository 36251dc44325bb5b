"""The base model in memory, with the adapters that were attached to it. Only the decoding thread touches it."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from studio.core.errors import NotFound, Refused
from worker.bits import bits_config, read_base
from worker.engine.slab import is_plain

BASE = "__base__"
"""PEFT's name, in a mixed batch, for a row without an adapter."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


@dataclass(frozen=True)
class Slot:
    """An attached adapter: PEFT's name for it (a module's name can not hold all that people write), and its folder.

    `model` is a model of its own, for what no adapter beside the base can be: fully fine-tuned, or with trained biases.
    `is_alone`: its rows can not stand in one batch with others (PEFT mixes no DoRA).
    """

    key: str
    folder: Path
    model: PreTrainedModel | None = None
    is_alone: bool = False


class LoadedModel:
    """One base model and its adapters."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str = "cpu") -> None:
        """Load the base from a local folder of safetensors. Raises OSError or ValueError where it is not one."""
        self._folder, self._device = folder, device
        self.dtype = dtype
        self.bits: tuple[str, bool] = ("none", True)
        self.base: PreTrainedModel = self._read()
        self._tuned: PeftModel | None = None
        self._slots: dict[str, Slot] = {}
        self._asked_at: dict[str, float] = {}
        self._count = 0
        self._now: tuple[list[str], PreTrainedModel, ExitStack] | None = None
        self._is_nested = False
        self._base_is_plain = is_plain(self.base.config)

    def _read(self) -> PreTrainedModel:
        bits = bits_config(*self.bits, self.dtype)
        return with_packed_head(read_base(self._folder, self.dtype, self._device, bits).eval())

    def would_read_again(self, bits: tuple[str, bool]) -> bool:
        """Whether a run's base (quantization, double) is another one than is in memory."""
        return bits != self.bits and {bits[0], self.bits[0]} != {"none"}

    def use_bits(self, bits: tuple[str, bool]) -> bool:
        """Read the base as a run had it, where it is another one; what was attached to the other is forgotten then."""
        if not self.would_read_again(bits):
            return False
        self._slots.clear()
        self._tuned = None
        del self.base  # before the next one is read: two would not fit
        self.bits = bits
        self.base = self._read()
        return True

    def group(self, key: str) -> str:
        """Rows whose keys have the same group can stand in one batch."""
        return key if self._alone(key) is not None else ""

    def _alone(self, key: str) -> Slot | None:
        return next((slot for slot in self._slots.values() if slot.key == key and slot.is_alone), None)

    def is_plain(self, key: str) -> bool:
        """Whether what a row has read can be kept and cut (`slab.py`)."""
        alone = self._alone(key)
        return self._base_is_plain if alone is None or alone.model is None else is_plain(alone.model.config)

    def knows(self, key: str) -> bool:
        """Whether this is still the key of an attached adapter, or of the base."""
        return key == BASE or any(slot.key == key for slot in self._slots.values())

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the attached adapters."""
        return tuple(self._slots)

    def holds(self, name: str, folder: Path) -> bool:
        """Whether this very adapter is attached already."""
        slot = self._slots.get(name)
        return slot is not None and slot.folder == folder

    def key(self, name: str) -> str:
        """What a mixed batch calls the adapter `name` ("base" for none). Raises NotFound."""
        if name == "base":
            return BASE
        if name not in self._slots:
            raise NotFound(f"No model called '{name[:64]}' is loaded.", "Attach its adapter first.")
        self._asked_at[name] = time.monotonic()
        return self._slots[name].key

    def beyond(self, most: int) -> list[str]:
        """The names of those that were not asked for longest, where there are more than so many."""
        by_use = sorted(self._slots, key=lambda name: self._asked_at.get(name, 0.0))
        return by_use[: max(0, len(by_use) - most)]

    def attach(self, name: str, folder: Path) -> None:
        """Read an adapter into memory under `name`; one of another folder is replaced. Raises Refused."""
        whole = is_whole(name, folder)
        if self.holds(name, folder):
            return
        self.detach(name)
        self._count += 1
        key, model = f"slot{self._count}", None
        try:
            settings = {} if whole else json.loads((folder / "adapter_config.json").read_text())
            if whole:
                model = with_packed_head(read_base(folder, self.dtype, self._device).eval())
            elif settings.get("bias", "none") != "none":
                model = PeftModel.from_pretrained(self._read(), folder, autocast_adapter_dtype=False).eval()
            else:
                self._load(key, folder)
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            self._drop(key)
            raise Refused(
                "The adapter does not fit the base model.", "Open it beside the model it was made for."
            ) from error
        alone = model is not None or bool(settings.get("use_dora"))
        self._slots[name] = Slot(key, folder, model, alone)
        self._asked_at[name] = time.monotonic()

    def _load(self, key: str, folder: Path) -> None:
        # The adapter takes the base's dtype: PEFT's default, fp32 on a bf16 base, costs a conversion in every layer.
        if self._tuned is None:
            self._tuned = PeftModel.from_pretrained(
                self.base, folder, adapter_name=key, is_trainable=False, autocast_adapter_dtype=False
            )
        else:
            self._tuned.load_adapter(folder, adapter_name=key, is_trainable=False, autocast_adapter_dtype=False)
        self._tuned.set_adapter(key)  # one that exists must be the active one, or PEFT skips mixed batches
        self._tuned.eval()

    def _drop(self, key: str) -> None:
        if self._tuned is None or key not in self._tuned.peft_config:
            return
        others = [other for other in self._tuned.peft_config if other != key]
        if others:  # PEFT warns where it has to choose the next active one itself
            self._tuned.set_adapter(others[0])
        self._tuned.delete_adapter(key)

    def detach(self, name: str) -> None:
        """Forget an adapter; one that is not attached is forgotten already."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._drop(slot.key)

    def model_for(self, keys: Sequence[str]) -> PreTrainedModel:
        """The model, answering with these adapters from now on, one key a row, until `settle` or another call."""
        if self._now is None or self._now[0] != list(keys):
            self.settle()
            stack = ExitStack()
            self._now = list(keys), stack.enter_context(self._mixed(keys)), stack
        return self._now[1]

    def settle(self) -> None:
        """The model as it is by itself; before its adapters change, or somebody else uses it."""
        if self._now is not None:
            now, self._now = self._now, None
            now[2].close()

    @contextmanager
    def nested(self, keys: Sequence[str]) -> Iterator[PreTrainedModel]:
        """The model with these adapters, in whose midst `model_for` may be asked for others."""
        self.settle()
        with self._mixed(keys, hooked=self.may_mix(keys[0])) as model:
            self._is_nested = True
            try:
                yield model
            finally:
                self.settle()
                self._is_nested = False

    def may_mix(self, key: str) -> bool:
        """Whether others can be answered while this one's adapter is in use."""
        alone = self._alone(key)
        return alone is None or alone.model is not None

    @contextmanager
    def _mixed(self, keys: Sequence[str], hooked: bool = False) -> Iterator[PreTrainedModel]:
        """What PEFT does inside `generate(adapter_names=...)`, once around the whole loop.

        Doing it for every token costs a walk over all modules. Layers without an adapter are not touched at all. Hooks
        that are set later win, so that hooked ones can be nested; one adapter for all rows goes faster without.
        """
        alone, kinds = self._alone(keys[0]), set(keys)
        hooked = hooked or self._is_nested
        if alone is not None and alone.model is not None:
            yield alone.model
        elif self._tuned is None or not self._slots:
            yield self.base
        elif kinds == {BASE} and not hooked:
            with self._tuned.disable_adapter():
                yield self.base
        elif alone is not None or (len(kinds) == 1 and not hooked):
            self._tuned.set_adapter(keys[0])
            yield self.base
        else:
            with self._tuned._enable_peft_forward_hooks(adapter_names=list(keys)):
                yield self.base


def with_packed_head(model: PreTrainedModel) -> PreTrainedModel:
    """`model`, whose head gets the last positions as a tensor of their own.

    As a view into all positions torch takes them for a batch of matrices, and copies the frozen head's weight for it:
    110 of the 250 ms that a prompt of the starter model takes (torch 2.13).
    """

    def packed(_head: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return given[0].clone(memory_format=torch.contiguous_format), *given[1:]

    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(packed)
    return model


def is_whole(name: str, folder: Path) -> bool:
    """Whether a whole model stands there instead of an adapter.

    Raises Refused where the name is not a plain one or the folder holds neither in safetensors.
    """
    if not SAFE_NAME.fullmatch(name) or name == "base":
        raise Refused("An adapter's name has 1 to 64 letters, digits, dots, dashes, underscores or @, not just 'base'.")
    if (folder / "config.json").is_file() and any(folder.glob("model*.safetensors")):
        return True
    for part in ("adapter_model.safetensors", "adapter_config.json"):
        if not (folder / part).is_file():
            raise Refused(f"The adapter has no {part}.", "Train it again, or pick another one.")
    return False
