"""For the doctor: the registry. Does it answer, and has docker credentials for it?"""

import ipaddress
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import requests
import urllib3

from wrapper.builds.host import FAIL, OK, TIMEOUT, Finding, docker, run
from wrapper.github.errors import reason

_API = {"docker.io": "registry-1.docker.io"}


def registry(host: str) -> Iterator[Finding]:
    """Whether HOST[:PORT] answers as a registry, and docker can log in where needed."""
    schemes, verify = ["https"], _certificate(host)
    if _local(host) or _insecure(host):
        schemes, verify = ["https", "http"], False  # as docker does
    failure = ""
    for scheme in schemes:
        try:
            answer = _ask(f"{scheme}://{_API.get(host, host)}/v2/", verify)
            break
        except requests.RequestException as e:
            failure = reason(e)
    else:
        advice = "start it, or correct registry in config.json"
        yield FAIL, f"registry {host} cannot be reached: {failure} ({advice})"
        return
    if answer.status_code not in (200, 401):
        advice = "is it a registry? correct registry in config.json"
        yield FAIL, f"registry {host} answers {answer.status_code} to /v2/ ({advice})"
    elif answer.status_code == 401 and not _credentials(host):
        yield FAIL, f"registry {host} asks who we are (docker login {host})"
    else:
        known = ", and docker has credentials for it"
        yield OK, f"registry {host} answers{known * (answer.status_code == 401)}"


def _ask(url: str, verify: str | bool) -> requests.Response:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        # an auth that adds nothing: .netrc is not asked
        return requests.get(url, timeout=TIMEOUT, verify=verify, auth=lambda r: r)


def _local(host: str) -> bool:
    """docker speaks plain HTTP with these without being told."""
    bare = re.sub(r":\d+$", "", host).strip("[]")
    try:
        return bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _insecure(host: str) -> bool:
    """Whether the engine's insecure-registries name it."""
    _, out, _ = run(docker(), "info", "--format", "{{json .RegistryConfig}}")
    try:
        registries = json.loads(out)
        known = registries["IndexConfigs"].get(host, {})
        if not known.get("Secure", True):
            return True
        address = ipaddress.ip_address(re.sub(r":\d+$", "", host))
        networks = registries.get("InsecureRegistryCIDRs") or []
        return any(address in ipaddress.ip_network(n) for n in networks)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _certificate(host: str) -> str | bool:
    own = Path("/etc/docker/certs.d", host, "ca.crt")
    return str(own) if own.exists() else True


def _credentials(host: str) -> bool:
    home = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/run", "containers")
    names = {host, "index.docker.io"} if host == "docker.io" else {host}
    for file in home / "config.json", runtime / "auth.json":  # docker's, podman's
        try:
            document = json.loads(file.read_text())
            known = [*document.get("auths", {}), *document.get("credHelpers", {})]
            if document.get("credsStore"):  # may know any host
                return True
        except (OSError, ValueError, AttributeError, TypeError):
            continue
        if names & {re.sub(r"^https?://|/.*", "", name) for name in known}:
            return True
    return False
