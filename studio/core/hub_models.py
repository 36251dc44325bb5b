"""What the Hub tells of models beyond their lists of files: the headers of their weights."""

from studio.core import hub
from studio.core.errors import Refused

# After `studio.core.hub`, which sets how huggingface_hub behaves.
from huggingface_hub import HfApi  # isort: skip
from huggingface_hub.errors import SafetensorsParsingError  # isort: skip


def tensor_shapes(model: hub.HubModel, parts: tuple[str, ...], *, timeout: float = 10) -> dict[str, tuple[int, ...]]:
    """The tensors of some safetensors files with their shapes, by the headers alone (100 KB of each at first).

    Refused where a header is not one; HubUnreachable where the Hub does not answer.
    """
    api = HfApi(endpoint=hub.endpoint(), token=False)

    def once() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for part in parts:
            told = api.parse_safetensors_file_metadata(
                model.repo, part, revision=model.commit, token=False, timeout=timeout
            )
            found.update({name: tuple(tensor.shape) for name, tensor in told.tensors.items()})
        return found

    try:
        return hub.patiently(once, hub.Subject(model.repo, model.commit), ())
    except SafetensorsParsingError as error:
        raise Refused(
            f"The weights of {model.repo!r} are damaged.", "Choose another model.", field="base.repo"
        ) from error
