"""What is recorded of the code that a sweep was started with."""

import subprocess

from museg.config.code_state import code_state


def git(folder, *words: str) -> str:
    about = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *about, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert code_state(tmp_path) == {"commit": None, "is_dirty": None}
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "not_tracked").touch()
    assert code_state(tmp_path) == {"commit": commit, "is_dirty": False}
    (tmp_path / "code.py").write_text("2")
    assert code_state(tmp_path) == {"commit": commit, "is_dirty": True}
