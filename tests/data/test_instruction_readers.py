import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.data.event_windows import TASKS
from museg.data.instruction_readers import read_conversations, read_et_instruct
from museg.meco.structure import write_structure
from museg.temporal.segments import Segment
from tests.data.instruction_files import conversation, et_row, saying, written


def et_examples(tmp_path, *rows, **options):
    return read_et_instruct(written(tmp_path / "et.json", *rows), **options).examples


def talks(tmp_path, *rows, **options):
    return read_conversations(written(tmp_path / "talks.json", *rows), **options).examples


def test_a_row_of_et_instruct(tmp_path):
    (example,) = et_examples(tmp_path, et_row(), videos="et/videos")
    assert (example.example_id, example.video, example.media) == ("et:0", "et/videos/didemo/a.mp4", "video")
    assert example.query == "When does 'a dog barks' happen?"
    assert example.targets == (Segment(5.0, 12.5),)
    assert (example.duration_s, example.task, example.source) == (30.0, "tvg", "didemo")
    assert (example.captions, example.response) == ((), "In 5.0 - 12.5 seconds.")


def test_what_a_row_may_lack(tmp_path):
    (example,) = et_examples(tmp_path, et_row(source=None, duration=None))
    assert (example.video, example.source, example.duration_s) == ("didemo/a.mp4", "didemo", None)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_events(tmp_path, task):
    times = {"src": [2, 9], "tgt": None} if task == "rvc" else {"tgt": [2, 9]}
    (example,) = et_examples(tmp_path, et_row(task=task, **times))
    # a highlight lasts 2 s; in tvc an event lasts until the next, the last one until a second before the end at 30 s
    expected = {"vhd": ((2, 4), (9, 11)), "tvc": ((2, 9), (9, 29))}
    assert example.targets == expected.get(task, ((2, 9),))


def test_windows_go_before_the_rule(tmp_path):
    (example,) = et_examples(tmp_path, et_row(task="new", tgt=None, windows=[[1, 4], [6.5, 8]]))
    assert example.targets == (Segment(1.0, 4.0), Segment(6.5, 8.0))


def test_captions_stand_before_their_tokens(tmp_path):
    answer = "A man opens the fridge. <ent> He pours milk.<ent>"
    rows = et_row(task="dvc", tgt=[5, 9, 12, 15], conversations=saying(answer))
    (example,) = et_examples(tmp_path, rows)
    assert example.captions == ("A man opens the fridge.", "He pours milk.")
    assert example.response is None
    # what a model is to write of it: a gap, an event, a gap, an event, a gap
    text = write_structure(example.captions, example.targets, example.duration_s).text
    assert text == "<tst>\nA man opens the fridge.<ent>\n<tst>\nHe pours milk.<ent>\n<tst>"
    # the same with the gaps written out already
    (again,) = et_examples(tmp_path, rows | {"conversations": saying(text)})
    assert again.captions == example.captions


def test_captions_stand_beside_their_times(tmp_path):
    answer = "5 - 9 seconds, open the fridge. 12.4 - 15.0 seconds, pour the milk."
    (example,) = et_examples(tmp_path, et_row(task="slc", tgt=[5, 9, 12, 15], conversations=saying(answer)))
    assert example.captions == ("open the fridge.", "pour the milk.")
    assert example.response == answer
    (described,) = et_examples(tmp_path, et_row(task="rvc", tgt=None, src=[3, 6], conversations=saying("He waves.")))
    assert described.captions == ("He waves.",)
    # of other tasks times are all there is
    (located,) = et_examples(
        tmp_path, et_row(task="tal", conversations=saying("It happens in 5 - 12.5 seconds, I think."))
    )
    assert located.captions == ()


def test_a_picture_a_clip_and_text_alone(tmp_path):
    path = written(
        tmp_path / "talks.json",
        conversation(image="00/1.jpg"),
        conversation("Describe it.\n<video>", "A cat sits.", video="a/2.mp4", duration=7),
        conversation("Write a poem."),
    )
    report = read_conversations(path, images="pretrain/images", videos="webvid")
    picture, clip = report.examples
    assert (picture.example_id, picture.video, picture.media) == ("talks:0", "pretrain/images/00/1.jpg", "image")
    assert (clip.example_id, clip.video, clip.media) == ("talks:1", "webvid/a/2.mp4", "video")
    assert (picture.query, picture.response) == ("What is it?", "A dog.")  # the first turn alone
    assert (clip.query, clip.response, clip.duration_s) == ("Describe it.", "A cat sits.", 7.0)
    assert (picture.targets, picture.task, picture.source) == ((), "conversation", "talks")
    assert dict(report.left_out) == {"without_picture_or_video": 1}


def test_rows_with_nothing_to_learn_from_are_counted(tmp_path):
    silent = [
        conversation("<image>", image="a.jpg"),
        conversation(answer=" ", image="a.jpg"),
        conversation(image="b.jpg"),
    ]
    report = read_conversations(written(tmp_path / "talks.json", *silent))
    assert dict(report.left_out) == {"without_question": 1, "without_answer": 1}
    assert [example.example_id for example in report.examples] == ["talks:2"]
    report = read_et_instruct(written(tmp_path / "et.json", et_row(task="rar"), et_row(), et_row(task="rar")))
    assert dict(report.left_out) == {"task_without_events": 2}
    assert [example.example_id for example in report.examples] == ["et:1"]


def test_faults_of_the_times_are_kept_and_counted(tmp_path):
    report = read_et_instruct(written(tmp_path / "et.json", et_row(tgt=[9, 5]), et_row(task="tal", tgt=[1, 50])))
    assert dict(report.kept_faults) == {"reversed_segment": 1, "ends_past_duration": 1}


def test_no_text_of_a_file_becomes_a_control_token(tmp_path):
    nasty = "a<|im_end|><|video_pad|>b <tst>"
    (talk,) = talks(tmp_path, conversation("<image><|image_pad|>", nasty, image="a.jpg"))
    assert talk.response == "a< |im_end| >< |video_pad| >b < tst>"
    rows = (
        et_row(conversations=saying(nasty)),
        et_row(conversations=saying(f"{nasty}<ent>")),
        et_row(task="rvc", src=[1, 2], conversations=saying(nasty)),
        et_row(task="slc", conversations=saying(f"5 - 12.5 seconds, {nasty}")),
    )
    for example in et_examples(tmp_path, *rows):
        for text in (*example.captions, example.response or ""):
            assert not any(token in text for token in ("<|", "|>", "<ent>", "<tst>"))
    # "< |" of the answer above was broken once and is left so; what closes an event is no part of its caption
    assert et_examples(tmp_path, rows[1])[0].captions == ("a< |im_end| >< |video_pad| >b",)


BAD_ET = [
    ([1], "is not a JSON object"),
    (et_row(video=None), "lacks video"),
    (et_row(task=7), "task must be a text"),
    (et_row(video="../x.mp4"), "video must be a path below"),
    (et_row(duration="30"), "duration must hold seconds"),
    (et_row(tgt=[1, 2, 3]), "starts and ends in turn"),
    (et_row(tgt=None), "tgt of a tvg sample must be a flat list"),
    (et_row(windows=[[1]]), "windows must hold"),
    (et_row(source=""), "source must be a text"),
    (et_row(task="tvc", duration=None), "length in seconds"),
    (et_row(conversations="hello"), "conversations must begin with a turn of human and gpt, not 'hello'"),
    (et_row(conversations=saying("a")[:1]), "conversations must begin"),
    (et_row(conversations=saying("a")[::-1]), "conversations must begin"),
    (et_row(conversations=[{"from": "human", "value": 1}, {"from": "gpt", "value": "a"}]), "value must be a text"),
    (et_row(conversations=saying("one <ent> two <ent>")), "has 2 captions, each before <ent>, for 1 events"),
]
BAD_TALKS = [
    (conversation(image="a.jpg", video="a.mp4"), "has both image and video"),
    (conversation(image=["a.jpg", "b.jpg"]), "image must be a path below"),
    (conversation(video="/etc/passwd"), "video must be a path below"),
    ({"image": "a.jpg"}, "lacks conversations"),
    (conversation(image="a.jpg", conversations=[None, None]), "conversations must begin"),
]


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [(read_et_instruct, et_row(), BAD_ET), (read_conversations, conversation(image="a.jpg"), BAD_TALKS)],
    ids=["et_instruct", "conversations"],
)
def test_all_unusable_rows_are_told_at_once(tmp_path, read, good, bad):
    path = written(tmp_path / "rows.json", good, *(row for row, _ in bad), good)
    with pytest.raises(ValueError) as raised:
        read(path)
    heading, *told = str(raised.value).splitlines()
    assert f"rows.json: {len(bad)} row(s) cannot be used" in heading
    assert len(told) == len(bad) <= 20
    for place, (line, (_, rule)) in enumerate(zip(told, bad, strict=True), start=1):
        assert line.startswith(f"  row {place} (from 0): ") and rule in line


@pytest.mark.parametrize("read", [read_et_instruct, read_conversations])
def test_files_of_another_kind_are_told(tmp_path, read):
    with pytest.raises(ValueError, match="does not exist"):
        read(tmp_path / "none.json")
    (tmp_path / "lines.json").write_text(json.dumps(et_row()) + "\n" + json.dumps(et_row()))
    with pytest.raises(ValueError, match="must hold a JSON list"):
        read(tmp_path / "lines.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*et_row(), "src", "windows", "image"]), json_values, max_size=3))
def test_any_json_row_is_read_left_out_or_told(tmp_path_factory, fields):
    path = written(tmp_path_factory.mktemp("any") / "rows.json", et_row() | fields)
    for read in (read_et_instruct, read_conversations):
        try:
            report = read(path)
            assert len(report.examples) + sum(report.left_out.values()) == 1
        except ValueError as error:
            assert "row 0 (from 0): " in str(error)
