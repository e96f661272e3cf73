"""What a method and its phases may train, and with which optimizer, told before anything is loaded."""

import pytest

from museg.config.validation import InvalidConfiguration, checked_settings
from tests.config.options import annotation_files, compose

MECO = ("method=meco", "prompt=meco_tiny", "phase=structure", "cold_start=none")


def places(*overrides: str) -> list[str]:
    """Where the configuration breaks rules; empty when it is valid."""
    try:
        checked_settings(compose(*overrides))
    except InvalidConfiguration as error:
        return [violation.place for violation in error.violations]
    return []


def parts(**changed) -> str:
    told = {"vision": False, "projector": True, "language": False, "embeddings": "none", "heads": False} | changed
    return "{" + ",".join(f"{key}:{str(value).lower()}" for key, value in told.items()) + "}"


def test_the_options_are_valid():
    assert places(*MECO) == []
    assert places(*MECO, f"phase.phases.structure.trains={parts(embeddings='new_rows', heads=True)}") == []


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ((f"phase.phases.structure.trains={parts(heads=True)}",), "phase.phases.structure.trains.heads"),
        (
            (f"phase.phases.structure.trains={parts(embeddings='new_rows')}",),
            "phase.phases.structure.trains.embeddings",
        ),
    ],
)
def test_other_methods_have_neither_heads_nor_new_rows(overrides, place):
    assert places("method=sft", *MECO[1:], *overrides) == [place]


def test_a_reference_without_its_adapter_is_the_model_as_it_was():
    lora = ("model.lora.rank=4", "phase=timestamp_always")
    assert places(*lora, f"phase.phases.timestamp.trains={parts(language=True)}") == ["phase.phases.timestamp.trains"]
    alone = parts(language=True, projector=False)
    assert places(*lora, f"phase.phases.timestamp.trains={alone}") == []
    assert places(*lora, f"phase.phases.timestamp.trains={parts(language=True)}", "objective.beta=0") == []


def test_prompts_of_a_phase_need_a_file_of_their_own():
    own = "phase.phases.structure.prompts_per_step=4"
    assert places(*MECO, own) == ["phase.phases.structure.prompts_per_step"]
    assert places(*MECO, own, "dataset.order=by_phase") == []
    few = places(*MECO, own, "dataset.order=by_phase", "trainer.devices=6", "trainer.strategy=ddp")
    assert few == ["phase.phases.structure.prompts_per_step"]


def test_phases_that_train_otherwise_are_fits_of_their_own():
    phases = f"phase.phases.timestamp.trains={parts()}", f"phase.phases.plain.trains={parts(language=True)}"
    assert places("method=sft", *phases) == []
    assert places("method=sft", *phases, "phase.restart=false") == ["phase"]


def test_heads_are_not_sharded_and_segments_end_where_targets_do():
    with pytest.raises(
        InvalidConfiguration, match=r"trainer\.strategy.* use trainer=zero2, zero3 or ddp with method=meco"
    ):
        checked_settings(compose(*MECO, "trainer=fsdp"))
    opposite = places(*MECO, "method.inclusive_end=false")
    assert opposite == ["method.localization.include_last_step"]
    assert places(*MECO, "method.start_heads=/nowhere") == ["method.start_heads"]


def test_some_phase_trains_the_heads():
    assert places(*MECO, f"phase.phases.structure.trains={parts()}") == ["phase.phases"]
    assert places(*MECO, f"phase.phases.structure.trains={parts()}", "method.weight=0") == []


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (("optimizer=muon",), []),
        (("optimizer=muon", "optimizer.momentum=null"), ["optimizer.momentum"]),
        (("optimizer=muon", "optimizer.weight_decay=0.1"), ["optimizer.weight_decay"]),
        (("optimizer.matrix_lr=0.1",), ["optimizer.matrix_lr"]),
        (("optimizer=muon", "trainer=fsdp", "method=sft", "phase=timestamp_always"), ["optimizer.kind"]),
        (("optimizer.warmup_share=0.1",), ["optimizer.warmup_steps"]),
        (("optimizer.warmup_share=0.1", "optimizer.warmup_steps=0"), []),
    ],
)
def test_optimizers_have_what_they_read(overrides, found):
    assert places(*overrides) == found


def test_answers_in_words_are_for_one_method():
    data = ("dataset=meco", f"dataset.video_root={annotation_files()}")
    assert places("method=meco", *data) == []
    assert places("method=sft", *data) == ["dataset.stages.alignment", "dataset.stages.instruction"]
    times_alone = ("~dataset.stages.alignment", "~dataset.stages.instruction")
    assert places("method=sft", *data, *times_alone) == []
