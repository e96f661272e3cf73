import shutil

import pytest

from museg.evaluation import checkpoint_identity as module
from museg.evaluation.checkpoint_identity import checkpoint_identity
from museg.policy.export import export
from museg.policy.tiny import build_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "first"
    export(build_tiny(seed=0), folder)
    return folder


def test_it_is_the_content_that_counts(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    first, second = checkpoint_identity(folder), checkpoint_identity(str(copy))
    assert first["name"] == str(folder) and second["name"] == str(copy)
    assert first["sha256"] == second["sha256"] and len(first["sha256"]) == 64
    (copy / "optimizer.pt").write_bytes(b"not part of it")
    assert checkpoint_identity(copy) == second


def test_every_file_that_decides_answers_counts(folder, tmp_path):
    digests = {checkpoint_identity(folder)["sha256"]}
    weights = tmp_path / "weights"
    export(build_tiny(seed=1), weights)
    digests.add(checkpoint_identity(weights)["sha256"])
    for name in ("config.json", "tokenizer.json"):
        changed = shutil.copytree(folder, tmp_path / name)
        (changed / name).write_bytes((changed / name).read_bytes() + b" ")
        digests.add(checkpoint_identity(changed)["sha256"])
    renamed = shutil.copytree(folder, tmp_path / "renamed")
    (renamed / "config.json").rename(renamed / "other.json")
    digests.add(checkpoint_identity(renamed)["sha256"])
    assert len(digests) == 5


def test_long_reading_is_told(folder, monkeypatch):
    said = []
    checkpoint_identity(folder, said.append)
    assert said == []
    monkeypatch.setattr(module, "LARGE_BYTES", 2**20)
    checkpoint_identity(folder, said.append)
    assert said == [f"reading 0.0 GiB of {folder} for its digest"]


def test_a_link_whose_file_was_not_copied(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to("../blobs/absent")
    with pytest.raises(ValueError, match=r"copy is incomplete: copy it again\. \(.*model\.safetensors"):
        checkpoint_identity(copy)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no weights"):
        checkpoint_identity(tmp_path)
    for name in ("no/such-model-here", str(tmp_path / "missing"), "a b?"):
        with pytest.raises(ValueError, match="neither a folder here nor a reachable model"):
            checkpoint_identity(name)
