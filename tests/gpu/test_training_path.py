"""On an accelerator the fast path's gradient is TRL's own."""

from pathlib import Path

import pytest
import torch

from tests.integration.test_gradients import one_step
from tests.integration.test_trainer import tuner_of
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import chats, job, write_data

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator on this machine"),
]


def test_the_fast_path_takes_the_step_of_trls_own(tmp_path: Path) -> None:
    model, data = make_tiny_model(tmp_path / "model"), write_data(tmp_path / "data.parquet", chats(8))
    found = []
    for path in ("fast", "trl"):
        knobs = {"eval_share": 0, "per_device_train_batch_size": 8, "path": path, "micro_batch_tokens": 150}
        tuner = tuner_of(job(model, data, tmp_path / path, adapter={"r": 4}, training=knobs))
        torch.manual_seed(0)
        for name, parameter in tuner.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        found.append(one_step(tuner))
    (ours, our_gradient), (theirs, their_gradient) = found
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert float((our_gradient - their_gradient).norm() / their_gradient.norm()) < 1e-3  # TF32 and other kernels
