"""The settings of New run that need no browser: presets that move, hidden fields, layers, continued adapters."""

from studio.core.catalog import STARTER_REPO
from studio.core.config import parse_config
from studio.core.config.difference import flat, nest
from studio.core.config.presets import Scale
from studio.core.services import Services
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.continuing import continued
from studio.ui import baseline, run_form
from studio.ui.fields import Layers, layer_choices, values_of
from studio.ui.run_facts import method_words
from tests.integration.records import add_run

DEFAULTS = tuple(values_of(run_form.KNOBS, {}))


def test_another_model_takes_the_preset_along_and_leaves_what_a_person_set() -> None:
    small, large = Scale(parameters=135_000_000), Scale(parameters=3_000_000_000, examples=20_000)
    old, new = baseline.of_preset("Balanced", small), baseline.of_preset("Balanced", large)
    values = flat(nest(old.values)) | {"training.num_train_epochs": 9}
    moved = baseline.moved(old, new, values)
    assert moved["training.learning_rate"] == 2e-4 and "training.num_train_epochs" not in moved
    assert [one.knob.path for one in old.changes(nest(values))] == ["training.num_train_epochs"]
    assert baseline.read(old.text()) == old and baseline.read("forged").values == {}


def test_the_method_goes_along_with_what_a_dataset_holds() -> None:
    comparisons = {"chosen": "a", "rejected": "b"}
    found = [baseline.fitting_method(chosen, comparisons) for chosen in ("sft", "orpo")]
    assert found == ["dpo", "orpo"]
    assert baseline.fitting_method("dpo", {"prompt": "a", "completion": "b"}) == "sft"
    assert baseline.fitting_method("kto", None) == "kto"


def test_hidden_fields_go_at_their_defaults() -> None:
    values = dict(zip((k.path for k in run_form.KNOBS), DEFAULTS, strict=True))
    values |= {"adapter.tuner": "full", "adapter.use_dora": True, "method.beta": 5.0}
    config = parse_config(run_form.raw_config(STARTER_REPO, list(values.values())))
    assert (config.adapter.tuner, config.adapter.use_dora, config.method.beta) == ("full", False, 0.1)


def test_a_run_says_how_it_learnt() -> None:
    assert method_words(parse_config({})) == "LoRA r=16, answers only"
    dpo = {"method": {"name": "dpo"}, "adapter": {"use_dora": True, "r": 8}, "base": {"quantization": "nf4"}}
    assert method_words(parse_config(dpo)) == "DPO, sigmoid, DoRA r=8, base in nf4"


def test_picked_layers_are_a_text_and_a_layer_takes_the_place_of_all() -> None:
    field = Layers(layer_choices(("q_proj",)), multiselect=True, allow_custom_value=True)
    assert field.preprocess(["all-linear", "q_proj"]) == "q_proj"
    assert field.preprocess(["q_proj", "all-linear"]) == field.preprocess([]) == "all-linear"
    assert field.postprocess("q_proj, v_proj") == ["q_proj", "v_proj"]


def test_only_an_own_run_with_an_adapter_of_the_same_shape_can_be_continued(services: Services) -> None:
    run = add_run(services, "mine")
    config = parse_config({"base": {"repo": "repo"}, "adapter": {"continue_from": run.id, "r": 8}})
    assert "no such run" in continued(services, "somebody", config)[0].problem
    assert "has no adapter" in continued(services, LOCAL_USER, config)[0].problem
    folder = services.artifacts.adapter_dir(run.id)
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").touch()
    assert [fault.field for fault in continued(services, LOCAL_USER, config)] == ["adapter.r"]
