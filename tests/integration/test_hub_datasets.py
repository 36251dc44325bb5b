import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core import hub_datasets
from studio.core.artifacts import read_json
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import hub_data
from studio.core.use_cases.hub_data import Choice
from studio.core.use_cases.upload import import_upload
from tests.integration.hub_orders import SETS, hub_of_orders, left, lines, orders
from tests.integration.hub_server import Hub, Repo


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_orders(monkeypatch) as running:
        yield running


def paths(found: hub_datasets.HubDataset) -> dict[str, dict[str, list[str]]]:
    return {
        config: {split: [file.path for file in files] for split, files in splits.items()}
        for config, splits in found.configs.items()
    }


def test_configurations_and_splits_are_those_of_the_card_the_default_first(server: Hub, settings: Settings) -> None:
    found = hub_datasets.look(settings, SETS)
    assert list(found.configs) == ["plain", "extra"]
    assert paths(found) == {
        "plain": {
            "train": ["data/train-1.jsonl", "data/train-2.jsonl.gz"],
            "validation": ["data/validation.jsonl"],
        },
        "extra": {"train": ["extra/a.csv"]},
    }
    assert (found.commit, found.licence, found.gated) == (server.datasets[SETS].commit, "mit", False)
    assert found.total == sum(
        len(data) for name, data in orders().items() if "README" not in name and "png" not in name
    )
    assert found.left_out == {".png": 1}
    assert (found.split(""), found.check_split("", "train")) == ("train", "validation")
    assert server.asked("/data/") == server.asked("/extra/") == 0
    assert server.tokens == []


def test_an_address_copied_from_the_browser_is_understood(server: Hub, settings: Settings) -> None:
    address = f"https://huggingface.co/datasets/{SETS}/viewer/default/train?row=3"
    assert hub_datasets.look(settings, address).repo == SETS


@pytest.mark.parametrize(
    ("repo", "revision", "problem", "field"),
    [
        ("acme/nothing", "main", "No dataset called 'acme/nothing' on the Hub.", "repo"),
        ("acme/secret", "main", "No dataset called 'acme/secret' on the Hub.", "repo"),
        ("../../etc", "main", "'../../etc' is no id of a Hub dataset.", "repo"),
        ("https://x.org/a/b", "main", "'https://x.org/a/b' is no id of a Hub dataset.", "repo"),
        ("", "main", "'' is no id of a Hub dataset.", "repo"),
        (SETS, "nope", f"The dataset '{SETS}' has no revision 'nope'.", "revision"),
        (
            "acme/gated",
            "main",
            "The dataset 'acme/gated' is gated: its owner asks for an agreement first "
            "(https://huggingface.co/datasets/acme/gated).",
            "token",
        ),
    ],
)
def test_an_unknown_or_closed_dataset_is_refused_with_a_sentence(
    server: Hub, settings: Settings, repo: str, revision: str, problem: str, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        hub_datasets.look(settings, repo, revision)
    assert (refused.value.problem, refused.value.field) == (problem, field)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"orders.py": b"import os", "a.tar": b"x"}, "needs code of its own, which the studio never runs."),
        ({"a.png": b"x", "b.png": b"x", "c.tar": b"x"}, "has no file that the studio reads; it holds 2 .png, 1 .tar."),
        ({"README.md": b"# Words"}, "has no file that the studio reads."),
        ({}, "has no file that the studio reads."),
        ({"a.csv": b""}, "All data files of 'acme/orders' are empty."),
    ],
)
def test_a_dataset_without_data_is_refused(
    server: Hub, settings: Settings, files: dict[str, bytes], problem: str
) -> None:
    server.datasets[SETS] = Repo(files)
    with pytest.raises(Refused) as refused:
        hub_datasets.look(settings, SETS)
    assert problem in refused.value.problem
    assert server.asked(".py") == 0


def test_a_busy_hub_is_asked_again_and_one_that_stays_away_is_unavailable(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fail = [503]
    assert hub_datasets.look(settings, SETS).repo == SETS
    server.fail = [429] * 4
    with pytest.raises(Unavailable, match="The Hub does not answer") as away:
        hub_datasets.look(settings, SETS)
    assert getattr(away.value, "reason", "") == "hub_unreachable"
    assert "upload a file" in away.value.remedy
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="The Hub does not answer"):
        hub_datasets.look(settings, SETS)


def test_offline_mode_is_respected(server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudioError, match="HF_HUB_OFFLINE"):
        hub_datasets.look(settings, SETS)
    assert server.requests == []


def test_the_first_rows_come_over_http_without_the_rest(server: Hub, settings: Settings, tmp_path: Path) -> None:
    packed = io.BytesIO()
    texts = [os.urandom(40).hex() for _ in range(60_000)]
    pq.write_table(pa.table({"text": texts}), packed, row_group_size=5000)
    server.datasets[SETS] = Repo({"a/train.parquet": packed.getvalue(), "b/test.jsonl": lines(40_000)})
    found = hub_datasets.look(settings, SETS)
    for split, most in (("train", 500_000), ("test", 1_200_000)):
        server.sent, (file,) = 0, found.files("", split)
        assert hub_datasets.first_rows(settings, found, file, None, tmp_path / split) == file.name
        assert server.sent < most < file.size
    assert pq.read_table(tmp_path / "train").column("text").to_pylist() == texts[:100]
    assert lines(40_000).startswith((tmp_path / "test").read_bytes())
    assert not list((settings.data_dir / "inspected").iterdir())


def test_the_head_is_inspected_as_an_upload_is(server: Hub, services: Services) -> None:
    shown = hub_data.head(services, "me", Choice(SETS))
    assert (shown.name, shown.container, shown.mapping) == (
        SETS,
        "jsonl",
        {"prompt": "prompt", "completion": "completion"},
    )
    assert shown.is_certain and shown.sample[0] == {"prompt": "Question 0", "completion": "An answer " * 5}
    assert left(services) == []


def test_chosen_splits_come_whole_with_their_provenance(server: Hub, services: Services) -> None:
    seen: list[tuple[float, str]] = []
    choice = hub_data.suggested(hub_data.look(services, "me", SETS))
    upload_id = hub_data.bring(services, "me", choice, on_progress=lambda share, words: seen.append((share, words)))
    folder = services.artifacts.upload_dir() / upload_id
    about = read_json(folder / "upload.json")
    assert about["parts"] == [
        {"file": "part-00001", "name": "train-1.jsonl", "split": "train"},
        {"file": "part-00002", "name": "train-2.jsonl.gz", "split": "train"},
        {"file": "part-00003", "name": "validation.jsonl", "split": "eval"},
    ]
    assert about["hub"] == {
        "repo": SETS, "commit": server.datasets[SETS].commit, "licence": "mit", "config": "plain", "split": "train",
        "check_split": "validation",
    }  # fmt: skip
    assert (about["owner"], about["name"]) == ("me", SETS)
    assert (folder / "part-00002").read_bytes() == orders()["data/train-2.jsonl.gz"]
    assert left(services) == [upload_id] and oct(folder.stat().st_mode & 0o777) == "0o700"
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)


def test_what_came_is_imported_with_the_hubs_own_split_held_out(server: Hub, services: Services) -> None:
    choice = hub_data.suggested(hub_data.look(services, LOCAL_USER, SETS))
    upload_id = hub_data.bring(services, LOCAL_USER, choice)
    made = import_upload(services, LOCAL_USER, upload_id, {"prompt": "prompt", "completion": "completion"})
    assert (made.report["read"], made.report["kept"], made.report["held_out"]) == (170, 170, 20)
    assert [(part["name"], part["split"]) for part in made.report["sources"]] == [
        ("train-1.jsonl", "train"),
        ("train-2.jsonl.gz", "train"),
        ("validation.jsonl", "eval"),
    ]
    assert server.datasets[SETS].commit in json.dumps(made.report)


def test_without_a_split_to_check_with_nothing_is_marked(server: Hub, services: Services) -> None:
    upload_id = hub_data.bring(services, "me", Choice(SETS, "extra"))
    about = read_json(services.artifacts.upload_dir() / upload_id / "upload.json")
    assert about["parts"] == [{"file": "part-00001", "name": "a.csv", "split": None}]


@pytest.mark.parametrize(
    ("choice", "problem", "field"),
    [
        (Choice(SETS, "nope"), "acme/orders has no configuration 'nope'.", "config"),
        (Choice(SETS, "plain", "nope"), "acme/orders has no split 'nope'.", "split"),
        (
            Choice(SETS, "plain", "train", "train"),
            "One split is chosen to learn from and to check with.",
            "check_split",
        ),
    ],
)
def test_a_wrong_choice_is_refused(server: Hub, services: Services, choice: Choice, problem: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        hub_data.bring(services, "me", choice)
    assert refused.value.problem.startswith(problem)
    assert (refused.value.field, left(services)) == (field, [])


def test_a_transfer_that_is_cut_goes_on_where_it_stopped(server: Hub, services: Services) -> None:
    whole = lines(20_000)
    server.datasets[SETS] = Repo({"a.jsonl": whole})
    server.cut["a.jsonl"] = [len(whole) // 4, len(whole) // 4, len(whole) // 4, len(whole) // 8, len(whole) // 16, 100]
    server.sent = 0
    upload_id = hub_data.bring(services, "me", Choice(SETS))
    assert (services.artifacts.upload_dir() / upload_id / "part-00001").read_bytes() == whole
    assert server.sent < 1.1 * len(whole)
    assert server.asked("resolve") == 7


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_flipped_byte_is_found_and_nothing_is_left(server: Hub, services: Services, name: str) -> None:
    server.datasets[SETS] = Repo({name: lines(100)})
    server.flip = {name}
    server.cut[name] = [900] * 3
    with pytest.raises(Unavailable, match=f"The file '{name}' of 'acme/orders' arrived damaged"):
        hub_data.bring(services, "me", Choice(SETS))
    assert left(services) == []


def test_more_than_an_upload_may_hold_is_refused_before_it_comes(server: Hub, services: Services) -> None:
    small = services.settings.model_copy(update={"max_upload_bytes": 5000})
    found = hub_datasets.look(small, SETS)
    files = {"a": found.files("", "train")[0]}
    with pytest.raises(Refused) as refused:
        hub_datasets.fetch(small, found, files, services.settings.data_dir)
    assert refused.value.problem == "acme/orders has 9.4 kB here; 5.0 kB is the limit."
    assert server.asked("/data/") == 0


class Enough(Exception):
    """What a person's cancel raises."""


def test_cancel_ends_the_transfer_and_leaves_nothing(server: Hub, services: Services) -> None:
    server.datasets[SETS] = Repo({"a.jsonl": lines(100_000)})
    server.pause = 0.05

    def cancel(share: float, words: str) -> None:
        if share > 0:
            raise Enough

    with pytest.raises(Enough):
        hub_data.bring(services, "me", Choice(SETS), on_progress=cancel)
    assert left(services) == []
    assert psutil.Process().children() == []
