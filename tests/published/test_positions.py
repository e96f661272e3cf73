"""Rotary positions against those recorded from transformers 4.50.0, the version the released code pins."""

import hashlib
import json

import pytest
import torch

from museg.policy.positions import prompt_position_ids
from tests.shared import ORACLES, require

NUM_CASES = 52


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads(require(ORACLES / "mrope.json").read_text())


@pytest.mark.parametrize("index", range(NUM_CASES))
def test_positions_equal_the_record(recorded, index):
    case, meta = recorded["cases"][index], recorded["meta"]
    expected = case["transformers_4_50_0"]
    input_ids, attention_mask = padded_prompts(case)
    position_ids, next_position = prompt_position_ids(
        input_ids,
        attention_mask,
        torch.tensor(case["video_grid_thw"]),
        torch.tensor(case["second_per_grid_ts"], dtype=torch.float32),
        video_id=case["token_types"]["video"],
        spatial_merge_size=meta["spatial_merge_size"],
        tokens_per_second=meta["tokens_per_second"],
    )

    assert hashlib.sha256(position_ids.numpy().astype("<i8").tobytes()).hexdigest() == expected["sha256_int64_le"]
    if "position_ids" in expected:
        assert position_ids.tolist() == expected["position_ids"]
    # the recorded delta is where the text goes on, relative to the padded length
    assert (next_position - case["seq_len"]).tolist() == expected["rope_deltas"]
    assert int(next_position.max()) == expected["max_position"] + 1


def test_every_recorded_case_is_compared(recorded):
    assert len(recorded["cases"]) == NUM_CASES


def padded_prompts(case: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Expand run-length encoded ids; a row's length counts its tokens without padding."""
    rows, masks = [], []
    for runs, length in zip(case["input_ids_runs"], case["attention_lengths"], strict=True):
        ids = [token for token, count in runs for _ in range(count)]
        num_padding = case["seq_len"] - length
        padding = range(num_padding) if case["pad_side"] == "left" else range(length, case["seq_len"])
        rows.append(ids)
        masks.append([int(place not in padding) for place in range(case["seq_len"])])
    return torch.tensor(rows), torch.tensor(masks)
