"""make install and make uninstall, on a host of their own: mounts that the rest of
this machine does not see, over its real folders."""

import os
import re
import subprocess

import pytest

from tests.support.parts import ROOT

SERVICE = ROOT / "scripts" / "service"
HOST = """
set -euo pipefail
for folder in etc opt usr/local usr/share var/lib; do
  mkdir -p "$1/$folder/upper" "$1/$folder/work"
  mount -t overlay overlay \
    -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
"""


@pytest.fixture
def host(tmp_path):
    """host(SCRIPT) runs it on such a host, as root; its output."""

    def host(script):
        # The upper folders of an overlay may not lie on another one: on memory.
        mounted = f'mount -t tmpfs tmpfs "$1"\n{HOST}{script}'
        command = ["unshare", "-m", "bash", "-c", mounted, "-", str(tmp_path)]
        ours = {"CONFIG", "BUILDS", "PYTHON"}  # of a test before this one
        env = {key: value for key, value in os.environ.items() if key not in ours}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return host


def test_it_is_installed_upgraded_and_removed(host):
    said = host(f"""
{SERVICE}/install.sh
echo == files
stat -c '%a %U:%G %n' /etc/docker-build-server{{,/*}} /var/lib/docker-build-server/*
echo == mine
cd /etc/docker-build-server
sed -i 's|"repositories": {{}}|"repositories": {{"o/n": {{}}}}|' config.json
echo secret >github-token
token=$(cat api-token)
cd /
echo == checks
setpriv --reuid builder --regid builder --clear-groups docker-build-server check
setpriv --reuid builder --regid builder --clear-groups docker-build-server status
python3 -c 'import json; name = json.load(open("/etc/docker-build-server/config.json"))
json.load(open(name["$schema"]))'
. /usr/share/bash-completion/completions/docker-build-server
complete -p docker-build-server
mkdir -p /var/lib/docker-build-server/builds/o/n
echo == again
{SERVICE}/install.sh
grep -c '"o/n"' /etc/docker-build-server/config.json
[[ $(cat /etc/docker-build-server/api-token) == "$token" && ${{#token}} -eq 32 ]]
[[ $(cat /etc/docker-build-server/github-token) == secret ]]
docker-build-server --version
echo == removed
{SERVICE}/uninstall.sh
left() {{ printf 'left: %s\\n' "$@"; }}
shopt -s nullglob
left /opt/docker-build-server* /usr/local/bin/docker-build-server* \\
  /usr/share/bash-completion/completions/docker-build-server* \\
  /etc/systemd/system/docker-build-server* /etc/docker-build-server/config.json* \\
  /var/lib/docker-build-server/builds/o/* "$(id -un builder)"
""")
    install, files, _, checks, again, removed = re.split("== .*\n", said)[:6]
    assert "install.sh: /etc/docker-build-server/config.json is new" in install
    assert files.split("\n")[:-1] == [
        "750 root:builder /etc/docker-build-server",
        "600 root:root /etc/docker-build-server/api-token",
        "640 root:builder /etc/docker-build-server/config.json",
        "600 root:root /etc/docker-build-server/github-token",
        "750 root:builder /etc/docker-build-server/secrets",
        "640 root:builder /etc/docker-build-server/targets.json",
        "750 builder:builder /var/lib/docker-build-server/builds",
        "750 builder:builder /var/lib/docker-build-server/home",
    ]
    assert "-F _docker_build_server docker-build-server" in checks
    assert "o/n" in checks
    assert "is new" not in again
    version = re.search(
        r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert version and f"docker-build-server {version[1]}\n" in again
    assert removed.startswith("uninstall.sh: done. These are yours, and stay:\n")
    assert re.findall("(?m)^left: (.*)", removed) == [
        "/etc/docker-build-server/config.json",
        "/var/lib/docker-build-server/builds/o/n",
        "builder",
    ]


def test_it_wants_to_be_called_by_root(tmp_path):
    for name in "install", "uninstall":
        command = ["setpriv", "--reuid", "65534", f"{SERVICE}/{name}.sh"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr == f"{name}.sh: usage: {name}.sh, as root (-h explains)\n"


@pytest.mark.parametrize(
    "unit", sorted(SERVICE.glob("*.service")), ids=lambda p: p.name
)
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path, unit):
    # Where they are installed there is nothing on this machine.
    text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text())
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_name_what_is_installed():
    places = (SERVICE / "places.sh").read_text()
    known = dict(re.findall(r"(?m)^(\w+)=(/\S+)$", places))
    for unit in SERVICE.glob("*.service"):
        text = unit.read_text()
        assert f"ExecStart={known['opt']}/bin/docker-build-server " in text
        assert f"CONFIG={known['etc']}/config.json" in text
        state = known["state"].removeprefix("/var/lib/")
        assert f"StateDirectory={state}/builds {state}/home\n" in text
        assert unit.name in places


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250
