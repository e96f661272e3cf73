"""The card of exported weights: right numbers, and nothing of a run folder that acts as markup."""

import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from museg.report.markdown import Markdown, block, render_markdown, span
from museg.report.model_card import Exported, HeadsBeside, base_licence, last_part, model_card
from museg.report.run_folder import read_run
from tests.report.invented_run import CONFIG, HOSTILE, write_invented_run

PUBLISHED = "Qwen/Qwen2.5-VL-3B-Instruct"


def exported(step=900, **changes):
    terms = [(Markdown("Videos"), Markdown("CC BY-NC-SA 4.0"), Markdown("https://example.org"))]
    return Exported(**{"step": step, "dtype": "float32", "versions": {"torch": "2.13.0"}, "terms": terms} | changes)


@pytest.fixture
def run_dir(tmp_path):
    return write_invented_run(tmp_path / "run", num_examples=4)


def card_of(run_dir, step=900, **config):
    """The card of a run whose settings are changed."""
    (run_dir / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **config}, sort_keys=False), encoding="utf-8")
    return model_card(read_run(run_dir), exported(step))


def metadata_of(card):
    """The block at the top, as the hub reads it."""
    _, block_of_card, _ = card.split("---\n", 2)
    return yaml.safe_load(block_of_card)


def test_says_how_it_was_made(run_dir):
    phases = {
        "timestamp": {"num_steps": 400, "prompt": "cited", "rewards": {}},
        "plain": {"num_steps": None, "prompt": "plain", "rewards": {"timestamp": False}},
    }
    wordings = {"cited": {"system": "Be brief.", "before_video": "", "after_video": "cite {query}\nnow"}}
    card = card_of(
        run_dir,
        phase={"total_steps": 900, "phases": phases},
        prompt={"evaluation": "cited", "wordings": wordings},
        trainer={"precision": "bf16-mixed"},
        model={"_target_": "museg.policy.loading.load_pretrained", "path": PUBLISHED, "lora": {"rank": 8, "alpha": 16}},
        video={"budget": {"sample_rate_fps": 2.0, "max_frames": None}},
        dataset={"_target_": "museg.data.dataset.museg_data", "stage_1": "/home/me/a.jsonl", "video_root": "/home/me"},
    )
    assert "Qwen2.5-VL after 900 of 900 steps of\nreinforcement learning with segment-matching" in card
    assert (
        "| `timestamp` | `400` | `cited` | – |\n| `plain` | `what the others leave` | `plain` | `timestamp` |" in card
    )
    assert "MusegModule" not in card
    assert "| Reward | `format + timestamp + coverage + 0.5 × local` |" in card
    assert "| Seed | `3` |" in card and "| Precision | `bf16-mixed` |" in card
    assert "| Adapter, merged | `LoRA of rank 8, alpha 16` |" in card
    assert "450 supervised steps, stopped because held-out mean IoU 0.602 reached 0.6" in card
    assert "system turn:\n\n```text\nBe brief.\n```" in card
    assert "after the video:\n\n```text\ncite {query}\nnow\n```" in card and "before the video" not in card
    assert "| `sample_rate_fps` | `2.0` |" in card
    assert "| `stage_1` | `a.jsonl` |" in card and "/home/me" not in card
    assert "- exported with `torch 2.13.0`\n- trained with `museg 0.1.0, torch 2.13.0`" in card
    assert "`Qwen RESEARCH LICENSE AGREEMENT`" in card and "duty of whoever uses them" in card
    assert "- Videos: CC BY-NC-SA 4.0 (https://example.org)" in card
    assert metadata_of(card)["base_model"] == PUBLISHED and "license" not in metadata_of(card)


def test_a_supervised_model_is_not_called_reinforced(run_dir):
    card = card_of(run_dir, method={"_target_": "museg.training.sft_module.SftModule"})
    assert "steps of\nsupervised training" in card and "reinforcement learning with" not in card


def test_heads_beside_the_model_are_told_with_the_call_that_loads_them(run_dir):
    (run_dir / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    heads = HeadsBeside("heads.safetensors", "heads.json", "<ent>", "<tst>")
    card = model_card(read_run(run_dir), exported(heads=heads))
    assert "## Events and their times" in card
    assert "every event with `<ent>`, and" in card and "writes `<tst>`; both" in card
    assert "weights are `heads.safetensors`, asked as `heads.json` says" in card
    assert re.search(
        r"^```python\nfrom museg\.meco\.exported import load_heads\n\nalignment = load_heads\(FOLDER\)", card, re.M
    )
    assert "MeCo ([arXiv 2503.09027]" in card and "reinforcement learning with" not in card
    assert metadata_of(card)["tags"] == ["temporal-grounding", "meco", "museg"]
    assert "load_heads" not in model_card(read_run(run_dir), exported())


def table_of(card):
    """The held-out table: label -> cells."""
    lines = card[card.index("## Held-out results") :].split("\n\n")[2].splitlines()
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("| ").split("|")] for line in lines)}


def test_scores_are_those_of_the_last_look_up_to_the_step(run_dir):
    """The invented run looks every 50 steps; weights of step 430 were last looked at after step 400."""
    metrics = read_run(run_dir).metrics
    (row,) = [r for r, kind in enumerate(metrics.kind) if kind == "validation" and metrics.step[r] == 400]
    card = card_of(run_dir, step=430)
    assert "After step 400, the last measurement up to step 430 of these weights, on held-out questions:" in card
    table = table_of(card)
    assert table["score"] == ["greedy", "sampled"]
    expected = [f"{metrics.columns[f'held_out/{mode}/mean_iou'][row]:.3f}" for mode in ("greedy", "sampled")]
    assert table["mean IoU"] == expected
    card = card_of(run_dir, step=400, validation={"num_examples": 24})
    assert "After step 400, on at most 24 held-out questions:" in card


def test_without_a_look_no_score_is_claimed(run_dir):
    (run_dir / "metrics.csv").unlink()
    assert "had not looked at its held-out questions up to step 7" in card_of(run_dir, step=7)


def test_an_unfinished_run_has_a_card(run_dir):
    (run_dir / "summary.json").unlink()
    card = card_of(run_dir, phase={"total_steps": 900}, step=400)
    assert "after 400 of 900 steps" in card and "- trained with" not in card


def test_an_empty_folder_has_a_card(tmp_path):
    card = model_card(read_run(tmp_path), exported(1))
    assert "a Qwen2.5-VL that began with random weights, after 1 steps" in card
    assert "# `model`" in card and "| base model | none: random weights |" in card


MARKUP = re.compile(r"<script|<img|onerror=|</svg>|\[click\]\(|^#+ owned|^- owned|^---$|@everyone", re.MULTILINE)
ATTACKS = (
    *HOSTILE,
    "x\n# owned\n- owned [click](http://evil) @everyone",
    "``` \n````\n# owned\n<img src=x>",
    "a | b | c\n---\n`` ` ```",
    "{{ 7*7 }}{% for x in y %}",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_texts_of_a_run_are_shown_and_nothing_more(run_dir, attack):
    card = card_of(
        run_dir,
        name=attack,
        seed=attack,
        trainer={"precision": attack},
        model={"path": attack, "_target_": attack},
        dataset={"_target_": attack, attack: attack},
        phase={"total_steps": attack, "phases": {attack: {"num_steps": attack, "prompt": attack, "rewards": attack}}},
        prompt={
            "evaluation": "w",
            "wordings": {"w": {"system": attack, "before_video": attack, "after_video": attack}},
        },
        video={"budget": {attack: attack}},
    )
    assert "49" not in re.findall(r"`(\d+)`", card)
    assert metadata_of(card).keys() == {"library_name", "pipeline_tag", "tags"}
    without_code = re.sub(r"`[^`\n]*`", "", without_fences(card.split("---\n", 2)[2]))
    assert not MARKUP.search(without_code)
    # what runs are our own two blocks, unchanged
    assert len(re.findall(r"^```python$", card, re.MULTILINE)) == 3


def without_fences(text):
    """The text without its code blocks, as CommonMark sees them: a fence ends at one at least as long."""
    kept, fence = [], None
    for line in text.splitlines():
        marks = re.match(r"(`{3,})(.*)$", line)
        if fence is None and marks:
            fence = marks[1]
        elif fence is not None and marks and len(marks[1]) >= len(fence) and not marks[2].strip():
            fence = None
        elif fence is None:
            kept.append(line)
    assert fence is None
    return "\n".join(kept)


@settings(max_examples=40)
@given(st.text())
def test_a_span_is_one_line_without_a_way_out(text):
    shown = span(text)
    assert "\n" not in shown and "\r" not in shown
    assert shown == "–" or (shown.count("`") == 2 and shown[0] == shown[-1] == "`")
    assert not re.search(r"(?<!\\)\|", shown)


@given(st.text(alphabet="`~ab\n <"))
def test_a_block_ends_at_its_own_fence(text):
    assert without_fences(f"before\n{block(text)}\nafter") == "before\nafter"


def test_only_what_is_marked_as_markdown_acts(monkeypatch):
    monkeypatch.setattr("museg.report.markdown.packaged", lambda name: "{{ told }} {{ made }} {{ number }} {{ flag }}")
    shown = render_markdown("x", told="**a**", made=Markdown("**b**"), number=3, flag=True)
    assert shown == "`**a**` **b** 3 `True`"


def test_names_that_may_be_published():
    assert last_part("/home/me/models/mine/") == "mine" and last_part(PUBLISHED) == PUBLISHED
    assert base_licence(PUBLISHED).startswith("Qwen RESEARCH")
    assert base_licence("Qwen/Qwen2.5-VL-7B-Instruct") == "Apache-2.0"
    assert base_licence("/models/Qwen2.5-VL-7B-Instruct") == base_licence("") == ""


def test_a_card_is_the_same_for_the_same_run(run_dir):
    run = read_run(run_dir)
    assert model_card(run, exported()) == model_card(run, exported())
    assert json.dumps(model_card(run, exported()))  # plain text, no half characters
