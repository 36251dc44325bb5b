"""The base model in memory, with the adapters that were attached to it. Only the decoding thread touches it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from studio.core.errors import NotFound, Refused

BASE = "__base__"
"""PEFT's name, in a mixed batch, for a row without an adapter."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Slot:
    """An attached adapter: PEFT's name for it (a module's name can not hold all that people write), and its folder."""

    key: str
    folder: Path


class LoadedModel:
    """One base model and its adapters."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str = "cpu") -> None:
        """Load the base from a local folder of safetensors. Raises OSError or ValueError where it is not one."""
        loaded = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        self.base: PreTrainedModel = loaded.to(device).eval()
        self.dtype = dtype
        self._tuned: PeftModel | None = None
        self._slots: dict[str, Slot] = {}
        self._count = 0

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
        return self._slots[name].key

    def attach(self, name: str, folder: Path) -> None:
        """Read an adapter into memory under `name`; one of another folder is replaced. Raises Refused."""
        check_adapter(name, folder)
        if self.holds(name, folder):
            return
        self.detach(name)
        self._count += 1
        key = f"slot{self._count}"
        try:
            self._load(key, folder)
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            self._drop(key)
            raise Refused(
                "The adapter does not fit the base model.", "Open it beside the model it was made for."
            ) from error
        self._slots[name] = Slot(key, folder)

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
        if self._tuned is not None and key in self._tuned.peft_config:
            self._tuned.delete_adapter(key)

    def detach(self, name: str) -> None:
        """Forget an adapter; one that is not attached is forgotten already."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            self._drop(slot.key)

    @contextmanager
    def mixed(self, keys: Sequence[str]) -> Iterator[PreTrainedModel]:
        """The model for as long as the rows of its batch answer with these adapters, one key a row.

        This is what PEFT does inside `generate(adapter_names=...)`, once around the whole loop: doing it for every
        token costs a walk over all modules. Layers without an adapter are not touched at all.
        """
        if self._tuned is None or not self._slots:
            yield self.base
        elif all(key == BASE for key in keys):
            with self._tuned.disable_adapter():
                yield self.base
        else:
            with self._tuned._enable_peft_forward_hooks(adapter_names=list(keys)):
                yield self.base


def check_adapter(name: str, folder: Path) -> None:
    """Raises Refused where the name is not a plain one or the folder holds no adapter in safetensors."""
    if not SAFE_NAME.fullmatch(name) or name == "base":
        raise Refused("An adapter's name has 1 to 64 letters, digits, dots, dashes or underscores, and is not 'base'.")
    for part in ("adapter_model.safetensors", "adapter_config.json"):
        if not (folder / part).is_file():
            raise Refused(f"The adapter has no {part}.", "Train it again, or pick another one.")
