"""Whatever is sent that openapi.json allows, or nearly does: nothing is a 500."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.web import SPEC, TOKEN, serving
from wrapper.web.app import CALLS

NAMES = {"owner": "o", "name": "n", "id": "latest", "step": "clone", "file": "version"}


@pytest.mark.more
def test_no_call_ends_in_an_error_of_ours(folder, tmp_path, capfd):
    build = folder.build(1, log=b"one line\n")
    (build.path / "version").write_text("1.2.3\n")
    # A remote that answers at once, so that nothing waits for a network.
    config = json.loads(folder.config.read_text())
    config["repositories"] = {"o/n": {"url": "http://127.0.0.1:1/none.git"}}
    folder.config.write_text(json.dumps(config))
    # Names that exist, where a path has names.
    spec = json.loads(json.dumps(SPEC))
    for parameter, name in NAMES.items():
        about = spec["components"]["parameters"][parameter]["schema"]
        about["enum"] = [name, "none"]
    file = tmp_path / "openapi.json"
    text = json.dumps(spec).replace('"config/schema"', '"schema.json"')
    file.write_text(text)
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    secret = tmp_path / "hooks"
    secret.write_text("a-secret-of-webhooks")
    secret.chmod(0o600)
    with serving(folder.config, hook_secret_file=secret) as (url, _):
        command = [Path(sys.executable).with_name("schemathesis"), "run", file]
        command += ["--url", f"{url}/api/v1", "-H", f"Authorization: Bearer {TOKEN}"]
        command += ["--checks", "not_a_server_error", "--max-examples", "25"]
        command += ["--request-timeout", "20", "--no-color", "--seed", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "internal error" not in capfd.readouterr().out
    report = done.stdout + done.stderr
    # No poller runs here, nor is there a remote: that is what a 503 is for.
    found = set(re.findall(r"^\[(5\d\d)\]", report, re.MULTILINE))
    assert found <= {"503"}, report
    assert "Traceback" not in report
    assert f"Tested: {len(CALLS)}" in report, report
