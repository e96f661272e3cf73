from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from museg.data.captions import captions_of
from museg.data.dataset import MOST_LOOKED_FOR, check_most_videos_exist, resolve_video
from museg.data.instruction_data import et_instruct_data, meco_data
from museg.data.instruction_readers import read_conversations
from museg.data.step_sampler import StepSampler
from museg.phases.schedule import Phase, PhaseSchedule
from tests.config.options import CONF
from tests.data.instruction_files import conversation, et_row, saying, write_stages, written

STAGES = yaml.safe_load((CONF / "dataset" / "meco.yaml").read_text())["stages"]


@pytest.fixture
def root(tmp_path) -> Path:
    write_stages(tmp_path)
    return tmp_path


def meco(root, stages=STAGES, **changed):
    settings = {"video_root": str(root), "held_out_share": 0.0, "order": "by_phase", "seed": 0, "questions": {}}
    return meco_data(stages=stages, **settings | changed)


def et_instruct(root, **changed):
    settings = {
        "train_file": str(root / "et_instruct_164k" / "et_instruct_164k_txt.json"),
        "video_root": str(root / "et_instruct_164k" / "videos"),
        "held_out_file": None,
        "held_out_share": 0.0,
        "order": "by_step",
        "seed": 0,
        "min_duration_s": 5.0,
        "max_duration_s": 350.0,
        "max_words": 500,
        "questions": {},
    }
    return et_instruct_data(**settings | changed)


def test_each_stage_has_its_own_examples(root):
    data = meco(root)
    assert [[example.media for example in stage] for stage in data.files] == [
        ["image"] * 3 + ["video"] * 2,
        ["image", "video"],
        ["video"] * 4,
    ]
    assert data.left_out == {"without_picture_or_video": 1}
    assert [len(example.targets) for example in data.files[2]] == [1] * 4
    everything = [example for stage in data.files for example in stage]
    assert all(resolve_video(data.video_root, example.video).is_file() for example in everything)
    assert len({example.example_id for example in everything}) == len(everything)


def test_a_phase_draws_from_its_stage(root):
    phases = tuple(Phase(name, 2, "any") for name in STAGES)
    sampler = StepSampler(meco(root), PhaseSchedule(phases, restart=False), prompts_per_step=5, seed=0)
    steps = [sampler.examples(step) for step in range(6)]
    assert {example.example_id.partition(":")[0] for example in steps[0]} == {"llava_558k_with_webvid"}
    assert {example.media for example in steps[0]} == {"image", "video"}  # five draws from five rows: all of them
    assert {example.source for example in steps[2]} == {"llava_v1_5_mix665k_with_video_chatgpt"}
    assert {example.source for example in steps[4] + steps[5]} == {"didemo"}


def test_a_stage_may_have_several_files(root):
    stages = deepcopy(STAGES)
    stages["alignment"]["files"]["more"] = {"file": "more.json", "format": "conversations", "images": "llava_instruct"}
    written(root / "more.json", conversation(image="coco/train2017/5.jpg"))
    data = meco(root, stages)
    assert [example.source for example in data.files[0]] == ["llava_558k_with_webvid"] * 5 + ["more"]


def test_what_is_held_out_is_of_the_last_stage_and_trained_on_in_none(root):
    stages = deepcopy(STAGES)
    rows = [conversation(video=f"didemo/{number}.mp4") for number in range(4)]
    written(root / "early.json", *rows)
    stages["instruction"]["files"]["early"] = {
        "file": "early.json",
        "format": "conversations",
        "videos": "et_instruct_164k/videos",
    }
    data = meco(root, stages, held_out_share=0.5)
    assert len(data.held_out) == 2 and len(data.files[2]) == 2
    assert {example.task for example in data.held_out} == {"tvg"}
    held_out = {example.video for example in data.held_out}
    assert not held_out & {example.video for stage in data.files for example in stage}
    assert len(data.files[1]) == 2 + 2  # four early rows, of which two show held-out videos
    assert meco(root, stages, held_out_share=0.5) == data
    assert any(meco(root, stages, held_out_share=0.5, seed=seed).held_out != data.held_out for seed in (1, 2, 3))


def test_files_that_are_not_there_are_told_together(root):
    (root / "et_instruct_164k" / "et_instruct_164k_txt.json").unlink()
    stages = deepcopy(STAGES)
    stages["alignment"]["files"]["other"] = {"file": "other.json", "format": "conversations"}
    with pytest.raises(ValueError, match=r"not there below video_root .*: other\.json, et_instruct_164k/et_instruct"):
        meco(root, stages)


def test_pictures_that_are_not_there_are_told_of_their_file(root):
    (root / "llava_pretrain").rename(root / "elsewhere")
    with pytest.raises(
        ValueError, match=r"3 of the 5 annotated videos .* first is .*/llava_pretrain/images/000/0\.jpg"
    ):
        meco(root)


def test_et_instruct_alone(root):
    data = et_instruct(root)
    assert [example.video for example in data.files[0]] == [f"didemo/{number}.mp4" for number in range(4)]
    assert (data.held_out, data.order, data.num_annotated) == ((), "by_step", (4,))
    assert et_instruct(root, video_root=str(root / "et_instruct_164k")).files == data.files
    half = et_instruct(root, held_out_share=0.5)
    assert (len(half.files[0]), len(half.held_out)) == (2, 2)
    with pytest.raises(ValueError, match="at least one example"):
        et_instruct(root, min_duration_s=31.0)


def test_rows_left_out_of_both_files_are_summed(root):
    extra = written(root / "valid.json", et_row(video="didemo/9.mp4"), et_row(duration=400.0), et_row(task="rar"))
    (root / "et_instruct_164k" / "videos" / "didemo" / "9.mp4").touch()
    data = et_instruct(root, held_out_file=str(extra), max_words=500)
    assert [example.example_id for example in data.held_out] == ["valid:0"]
    assert data.left_out == {"above_max_duration": 1, "task_without_events": 1}


def test_who_writes_events_is_asked_for_them(root):
    """The caption that stands for an unknown one is what the question quotes, and nothing of the form."""
    asked = "When is 'it'? The format of your response should be 'It is in <start> - <end> seconds'."
    rows = [
        et_row(video=f"didemo/{n}.mp4", task=task, conversations=saying("In 5 - 12.5 seconds.", asked))
        for n, task in enumerate(("tvg", "tal"))
    ]
    path = str(written(root / "rows.json", *rows))
    table = {"tvg": {"until": "The format of your response should", "then": "Describe it."}}
    data = et_instruct(root, train_file=path, held_out_share=0.5, questions=table)
    found = data.asking_for_events()
    queries = {example.task: example.query for example in (*found.files[0], *found.held_out)}
    assert queries == {"tvg": "When is 'it'?\nDescribe it.", "tal": asked}
    examples = {example.task: example for example in (*data.files[0], *data.held_out)}
    assert captions_of(data.asked_for_events(examples["tvg"])) == ("it",)
    assert {example.query for example in examples.values()} == {asked}
    staged = meco(root, questions=table).asking_for_events().files[2][0]
    assert staged.query == "When does 'a dog barks' happen?\nDescribe it."


def test_captions_arrive(root):
    rows = [et_row(video="didemo/0.mp4", conversations=saying("A dog barks loudly.<ent>"))]
    path = written(root / "meco.json", *rows)
    (example,) = et_instruct(root, train_file=str(path)).files[0]
    assert example.captions == ("A dog barks loudly.",)


def test_of_very_many_videos_some_are_looked_for(root, monkeypatch):
    path = written(root / "many.json", *(conversation(video=f"{number}.mp4") for number in range(3 * MOST_LOOKED_FOR)))
    examples = read_conversations(path).examples
    asked = []
    monkeypatch.setattr("museg.data.dataset._is_there", lambda _, video: asked.append(video) or True)
    check_most_videos_exist(root, examples)
    assert MOST_LOOKED_FOR / 2 < len(asked) <= MOST_LOOKED_FOR
    assert len({int(video.partition(".")[0]) // 100 for video in asked}) > 50  # from all over the file
