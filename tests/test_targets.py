import pytest
import yaml

from museg.rewards.mix import RewardMix
from museg.rewards.timestamp import TimestampReward
from museg.targets import build, check_targets, find_targets, is_allowed, locate, read_run_config

TIMESTAMP = {"_target_": "museg.rewards.timestamp.TimestampReward", "penalty": 0.3}
MIX = {"_target_": "museg.rewards.mix.RewardMix", "terms": {"timestamp": TIMESTAMP}, "weights": {}}


def test_builds_what_is_nested_first():
    assert build(MIX) == RewardMix({"timestamp": TimestampReward(0.3)}, {})


def test_arguments_known_only_while_running_win():
    assert build(TIMESTAMP, penalty=0.1) == TimestampReward(0.1)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "museg",
        "museg.targets.locate",
        "museg.rewards._private.Thing",
        "museg.rewards.__builtins__.eval",
        "museg_evil.rewards.Thing",
        "builtins.eval",
        "lightning.pytorch.Trainer",
        7,
        None,
    ],
)
def test_refuses_what_is_not_on_the_list(target):
    assert not is_allowed(target)
    with pytest.raises(ValueError, match="may only construct"):
        build({"_target_": target})


def test_refuses_a_foreign_target_deep_inside_without_constructing_anything(tmp_path):
    touched = tmp_path / "touched"
    evil = {"_target_": "pathlib.Path.touch", "self": str(touched)}
    with pytest.raises(ValueError, match=r"terms\.evil"):
        build(MIX | {"terms": {"timestamp": TIMESTAMP, "evil": evil}})
    assert not touched.exists()


@pytest.mark.parametrize(
    "target",
    [
        "museg.rewards.mix.math",  # a module that another one imported
        "museg.rewards.mix.dataclass",  # a function that another module defines
        "museg.rewards.mix.Absent",
        "museg.rewards.absent.Reward",
        "museg.video.decoding.Path",
    ],
)
def test_an_allowed_name_must_be_defined_where_it_says(target):
    with pytest.raises(ValueError, match="_target_"):
        locate(target)


def test_finds_targets_with_their_places():
    places = dict(find_targets({"a": [{"_target_": "x"}], "b": {"c": {"_target_": 3}}}))
    assert places == {"a[0]": "x", "b.c": 3}
    check_targets({"a": [1, "two"]})


def test_a_mapping_without_target_is_not_built():
    with pytest.raises(ValueError, match="without '_target_'"):
        build({"penalty": 1})


def test_reads_a_run_config_as_data(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"reward": MIX, "lr": 1.5e-6}))
    assert read_run_config(file) == {"reward": MIX, "lr": 1.5e-6}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- 1", "must be a mapping"),
        ("model: {path: '${oc.env:HOME}'}", r"model\.path"),
        ("model: {_target_: os.system, command: ls}", "os.system"),
    ],
)
def test_refuses_a_run_config_that_is_more_than_data(tmp_path, text, reason):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_run_config(file)
    assert str(file) in str(caught.value)


def test_yaml_tags_do_not_run_code(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(f"a: !!python/object/apply:os.system ['touch {tmp_path}/touched']")
    with pytest.raises(yaml.YAMLError):
        read_run_config(file)
    assert not (tmp_path / "touched").exists()
