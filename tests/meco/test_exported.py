"""The heads beside an exported model: written, read, and refused where they are something else."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from museg.meco.alignment import AlignmentHeads
from museg.meco.exported import FACTS_FILE, WEIGHTS_FILE, AlignmentFacts, has_heads, load_heads, save_heads
from museg.meco.localization import LocalizationSettings

FACTS = AlignmentFacts(-2, -1, False, LocalizationSettings(threshold=0.6, dilation_steps=0, include_last_step=True))


@pytest.fixture
def folder(tmp_path):
    heads = AlignmentHeads(8, temperature=0.2, seed=3)
    save_heads(tmp_path, heads.state_dict(), FACTS)
    return tmp_path


def test_read_as_written(folder):
    found, before = load_heads(folder), AlignmentHeads(8, temperature=0.2, seed=3)
    assert found.facts == FACTS
    for name, weight in before.state_dict().items():
        assert torch.equal(found.heads.state_dict()[name], weight), name
    assert not found.heads.training and has_heads(folder)


def test_a_scale_without_a_dimension_is_read(folder):
    """So it was stored before DeepSpeed, which takes none, trained heads."""
    weights = load_file(folder / WEIGHTS_FILE)
    save_file(weights | {"log_scale": weights["log_scale"].squeeze(0)}, folder / WEIGHTS_FILE)
    assert float(load_heads(folder).heads.scale) == pytest.approx(1 / 0.2)


def test_half_a_folder_is_refused(folder):
    (folder / FACTS_FILE).unlink()
    with pytest.raises(ValueError, match=f"has no {FACTS_FILE}"):
        load_heads(folder)
    (folder / WEIGHTS_FILE).unlink()
    assert not has_heads(folder)
    with pytest.raises(ValueError, match=f"has no {WEIGHTS_FILE}"):
        load_heads(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token_layer", 3),
        ("frame_layer", "x"),
        ("inclusive_end", None),
        ("localization", []),
        ("localization", {"threshold": 2.0}),
        ("localization", {"threshold": "high"}),
        ("localization", {"dilation_steps": 1.5}),
        ("localization", {"competition": 1}),
        ("localization", {"score": ["cosine"]}),
        ("localization", {"other": 1}),
    ],
)
def test_other_facts_are_refused(folder, key, value):
    facts = json.loads((folder / FACTS_FILE).read_text())
    (folder / FACTS_FILE).write_text(json.dumps(facts | {key: value}))
    with pytest.raises(ValueError, match="damaged, or those of something else"):
        load_heads(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_damaged_file_of_facts_is_refused(folder, text):
    (folder / FACTS_FILE).write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        load_heads(folder)


def test_damaged_weights_are_refused(folder):
    whole = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_heads(folder)
