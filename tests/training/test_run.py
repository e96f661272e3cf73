"""What a run does before its first step."""

import pytest

from museg.config.job import build_job
from museg.config.validation import checked_settings
from museg.training.run import Run, train
from tests.config.options import compose
from tests.data.instruction_files import et_row, saying, written

ASKED = "When is 'a dog barks'? The format of your response should be 'It is in <start> - <end> seconds'."


class Begun(Exception):
    """The run has got as far as it should."""


@pytest.mark.parametrize(
    ("method", "put"), [("meco", "When is 'a dog barks'?\nDescribe this event in detail."), ("sft", ASKED)]
)
def test_questions_are_put_as_the_method_asks(method, put, tmp_path, monkeypatch):
    """Of those trained on; held-out ones go the same way, and these clips cannot be decoded."""
    begun = []

    def begin(run: Run, _) -> None:
        begun.append(run)
        raise Begun

    monkeypatch.setattr(Run, "run_fits", begin)
    (tmp_path / "didemo").mkdir()
    (tmp_path / "didemo" / "a.mp4").touch()
    file = written(tmp_path / "et.json", et_row(conversations=saying("In 5.0 - 12.5 seconds.", f"<image>\n{ASKED}")))
    data = ("dataset=et_instruct", f"dataset.train_file={file}", f"dataset.video_root={tmp_path}")
    chosen = (f"method={method}", "prompt=meco_tiny", "phase=structure", "cold_start=none", "dataset.held_out_share=0")
    with pytest.raises(Begun):
        train(build_job(checked_settings(compose(*data, *chosen, "video.num_workers=0"))), tmp_path / "run")
    [[example]] = begun[0].data.files
    assert example.query == put
