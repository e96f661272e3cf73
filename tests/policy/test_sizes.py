import pytest

from museg.policy.loading import freeze
from museg.policy.sizes import PUBLISHED_SIZES, meta_model

SMALL, LARGE = PUBLISHED_SIZES


@pytest.fixture(scope="module")
def small():
    return meta_model(SMALL)


def trained(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_published_sizes_have_their_published_parameters(small):
    # tower and merger of both 668.7 / 676.6 million; the 3B decoder ties its head, the 7B one has its own
    assert sum(parameter.numel() for parameter in small.parameters()) == 3_754_622_976
    large = meta_model(LARGE)
    assert sum(parameter.numel() for parameter in large.parameters()) == 8_292_166_656
    assert all(parameter.is_meta for parameter in large.parameters())


def test_facts_that_positions_depend_on(small):
    vision = small.config.vision_config
    assert (vision.tokens_per_second, vision.spatial_merge_size, vision.temporal_patch_size) == (2, 2, 2)
    assert small.config.video_token_id == 151656
    assert small.model.language_model.rotary_emb.mrope_section == [16, 24, 24]


def test_freezing_a_part_freezes_exactly_that_part(small):
    visual, language = small.model.visual, small.model.language_model
    merger = sum(parameter.numel() for parameter in visual.merger.parameters())
    tower = sum(parameter.numel() for parameter in visual.parameters()) - merger
    decoder = sum(parameter.numel() for parameter in language.parameters())
    everything = merger + tower + decoder
    try:
        for frozen, left in [
            ({"vision": True, "projector": False, "language": False}, merger + decoder),
            ({"vision": True, "projector": True, "language": False}, decoder),
            ({"vision": False, "projector": False, "language": True}, merger + tower),
            ({"vision": False, "projector": False, "language": False}, everything),
        ]:
            freeze(small, frozen)
            assert trained(small) == left
    finally:
        small.requires_grad_(True)


def test_unknown_names_are_refused(small):
    with pytest.raises(ValueError, match=r"frozen part='tower' is unknown: choose one of vision, projector, language"):
        freeze(small, {"tower": True})
    with pytest.raises(ValueError, match=r"'Qwen/Qwen3'.*Qwen/Qwen2\.5-VL-3B-Instruct"):
        meta_model("Qwen/Qwen3")
