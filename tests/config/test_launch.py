"""With which settings a run is continued."""

import yaml

from museg.config.launch import resumed_settings

RECORDED = {"seed": 3, "resume": None, "profile": False}


def test_a_folder_alone_brings_its_own_settings(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECORDED))
    now = {"seed": 0, "resume": str(tmp_path), "profile": False}
    assert resumed_settings(now, [f"resume={tmp_path}"]) == RECORDED | {"resume": str(tmp_path)}
    profiled = resumed_settings(now | {"profile": True}, [f"resume={tmp_path}", "profile=true"])
    assert profiled == {"seed": 3, "resume": str(tmp_path), "profile": True}


def test_other_overrides_are_compared_with_the_folder_later(tmp_path):
    now = {"seed": 0, "resume": str(tmp_path), "profile": True}
    assert resumed_settings(now, [f"resume={tmp_path}", "profile=true", "seed=0"]) is now
    assert resumed_settings(now | {"resume": "auto"}, ["resume=auto"]) == now | {"resume": "auto"}
