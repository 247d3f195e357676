"""Builds as Jobs of Kubernetes, whose files are checked by its own schemas.

No API server can be had here: a stand-in for kubectl runs a Job's very image and
command by docker.
"""

import json
import os
import shutil

import kubernetes_validate
import pytest
import yaml

from tests.support.parts import ROOT, application, results, wait_for

pytestmark = pytest.mark.more
VERSION = "1.34"


@pytest.fixture
def kubectl(tmp_path):
    """Its folder for PATH, and that of its Jobs."""
    folder, jobs = tmp_path / "bin", tmp_path / "jobs"
    folder.mkdir()
    jobs.mkdir()
    shutil.copy(ROOT / "tests/support/kubectl", folder / "kubectl")
    return folder, jobs


def test_what_is_applied_is_valid():
    text = (ROOT / "scripts/image/kubernetes.yaml").read_text()
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        kubernetes_validate.validate(document, VERSION, strict=True)
    kinds = [document["kind"] for document in documents]
    assert "Deployment" in kinds
    [about] = [d["data"] for d in documents if d["kind"] == "ConfigMap"]
    assert json.loads(about["config.json"])["engine"]["kind"] == "kubernetes"


def test_a_mistake_in_it_would_be_found():
    text = (ROOT / "scripts/image/kubernetes.yaml").read_text()
    deployment = list(yaml.safe_load_all(text))[-1]
    deployment["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def test_a_push_is_built_by_a_job(
    make_repo, configure, run_poller, builds, name, base_image, server_image, kubectl,
    registry, tmp_path,
):  # fmt: skip
    folder, jobs = kubectl
    shared, work = tmp_path / "shared", tmp_path / "work"
    shared.mkdir()
    work.mkdir()
    engine = {"kind": "kubernetes", "image": server_image, "constraint": "big=yes"}
    engine |= {"shared": str(shared), "work": str(work)}
    tree = make_repo(application(base_image))
    test = {"command": ["sh", "-c", "echo at the gate; sleep 3"]}
    config = configure(repositories={name: {"test": test}}, engine=engine)
    path = f"{folder}:{os.environ['PATH']}"
    poller = run_poller(config, PATH=path, KUBECTL_JOBS=str(jobs))
    poller.wait_for((builds / name / "state.json").exists)
    tree.commit({"app.js": "// new\n"})
    tree.push()
    poller.said("at the gate", 120)
    [created] = [json.loads(file.read_text()) for file in jobs.iterdir()]
    kubernetes_validate.validate(created, VERSION, strict=True)
    spec = created["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"big": "yes"}
    [build] = spec["containers"]
    assert build["resources"]["requests"] == {"cpu": "1", "memory": "3Gi"}
    mounts = {mount["mountPath"] for mount in build["volumeMounts"]}
    assert {str(shared), str(work)} <= mounts
    poller.wait_for(lambda: results(builds, name), 120)
    [result] = results(builds, name)
    assert result["status"] == "success", poller.output
    assert "main" in registry.tags(name)
    assert "agent.sh: on node1" in (builds / name / "latest/console.log").read_text()
    wait_for(lambda: not list(jobs.iterdir()), 30, "the Job is deleted")
