"""A hint that git has something new is taken at once, and none is dropped."""

import hmac
import json
from functools import partial

import requests

from tests.support.parts import wait_for
from tests.support.web import Api, serving

SLOW = {"interval": 3600, "sweep": 3600}


def asked(github, name):
    """How often git was asked where the refs are."""
    path = f"/{name}.git/info/refs"
    return sum(1 for r in github.requests if r.path.startswith(path))


def test_a_push_whose_event_never_comes_is_staged_by_its_hook(
    make_repo, configure, here, github, builds, name, tmp_path
):
    tree = make_repo()
    config = configure(name, poll=SLOW)
    poller = here(config)
    poller.says(f"noted main at {tree.head[:7]}")
    secret = tmp_path / "hooks"
    secret.write_text("a-secret-of-webhooks")
    secret.chmod(0o600)
    tree.commit()
    tree.push()
    # What else the payload says is not true, and nobody believes it.
    payload = {"repository": {"full_name": name}, "after": "f" * 40, "ref": "main"}
    body = json.dumps(payload).encode()
    signature = hmac.new(secret.read_bytes(), body, "sha256").hexdigest()
    with serving(config, hook_secret_file=secret) as (url, _):

        def send():
            answer = requests.post(
                f"{url}/api/v1/hooks/github",
                data=body,
                headers={"X-Hub-Signature-256": f"sha256={signature}"},
            )
            assert answer.status_code == 202

        send()
        wait_for(lambda: poller.counts(name, 1))
        assert poller.builds(name) == [("refs/heads/main", tree.head)]
        assert not (builds / name / ".look").exists()

        # The same delivery once more: git is asked, and nothing is built again.
        before = asked(github, name)
        send()
        wait_for(lambda: asked(github, name) > before)
        wait_for(lambda: not (builds / name / ".look").exists())
        tree.commit()
        tree.push()
        send()
        wait_for(lambda: poller.builds(name)[1:] == [("refs/heads/main", tree.head)])


def test_one_look_at_once_and_the_next_in_two_seconds(
    make_repo, configure, here, github, builds, name
):
    tree = make_repo()
    config = configure(name, poll=SLOW)
    poller = here(config)
    poller.says(f"noted main at {tree.head[:7]}")
    with serving(config) as (url, _), Api(url) as api:
        before = asked(github, name)
        for number in range(1, 4):
            tree.commit()
            tree.push()
            for _ in range(20):
                assert api.post(f"/repositories/{name}/look").status_code == 202
            wait_for(partial(poller.counts, name, number))
        assert poller.builds(name)[-1] == ("refs/heads/main", tree.head)
        # Twenty hints are one look, or two where the first had begun.
        assert asked(github, name) - before <= 7
