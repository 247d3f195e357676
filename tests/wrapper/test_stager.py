"""Git's answer about a remote: as many refs as there are, and within a time."""

import subprocess

import pytest

from wrapper.github.errors import Trouble
from wrapper.pushes import stager


def test_fifty_thousand_refs(tmp_path):
    path = tmp_path / "many.git"
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    tree = subprocess.check_output(
        ["git", "-C", path, "hash-object", "-t", "tree", "-w", "/dev/null"], text=True
    )
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", path]
    commit = subprocess.check_output(
        [*words, "commit-tree", "-m", "x", tree.strip()], text=True
    ).strip()
    lines = [f"{commit} refs/heads/b{i:05}\n" for i in range(50_000)]
    (path / "packed-refs").write_text("# pack-refs with: sorted\n" + "".join(lines))
    found = stager.heads(f"file://{path}").refs
    assert len(found) == 50_000
    assert found["refs/heads/b49999"] == commit


def test_a_remote_that_drips_is_left(github, monkeypatch):
    monkeypatch.setattr(stager, "PATIENCE", 1.0)
    github.create("o/n")
    github.fault("info/refs", times=-1, drip="body", every=0.1)
    with pytest.raises(Trouble, match=r"did not end within 1\.0 s"):
        stager.heads(f"{github.url}/o/n.git")
