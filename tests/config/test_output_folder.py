import pytest

from museg.config.output_folder import claim
from museg.evaluation.run_folder import write_config

NOTHING = dict.fromkeys(("checkpoint", "predictions", "completions", "compare"))


def asking(source: str, benchmark: str = "thumos14") -> dict:
    return {**NOTHING, source: "x", "benchmark": {"name": benchmark}}


def test_a_folder_goes_on_with_what_it_holds(tmp_path):
    claim(tmp_path / "new", asking("checkpoint"))
    write_config(tmp_path, asking("checkpoint"))
    claim(tmp_path, asking("checkpoint"))


@pytest.mark.parametrize(
    "other", [asking("predictions"), asking("checkpoint", "thumos15"), asking("completions"), asking("compare")]
)
def test_and_with_nothing_else(other, tmp_path):
    write_config(tmp_path, asking("checkpoint"))
    with pytest.raises(ValueError, match="holds an evaluation of a checkpoint on thumos14 already"):
        claim(tmp_path, other)


@pytest.mark.parametrize("text", ["name: tiny\n", "[", "- 1\n", "\xff", "null\n"])
def test_folders_of_others_are_left_alone(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="holds something that is no evaluation"):
        claim(tmp_path, asking("checkpoint"))
