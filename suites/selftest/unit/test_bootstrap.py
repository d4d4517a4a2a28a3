"""What of `bootstrap` can be tried without installing anything: its functions, one by one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
LIBVIRT = "libvirt-daemon-common|libvirt-daemon"
BOOKWORM = {"libvirt0": "9.0.0-4", "libvirt-daemon": "9.0.0-4"}
TRIXIE = {"libvirt0": "11.3.0-3", "libvirt-daemon": "11.3.0-3", "libvirt-daemon-common": "11.3.0-3"}
BACKPORTS = {**BOOKWORM, "libvirt-daemon-common": "11.3.0-3~bpo12+1"}


def call(folder: Path, code: str, **replaced: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where bootstrap's functions are known and the host's files are in `folder`."""
    functions, _, _ = (TOP / "bootstrap").read_text().partition("\ncheck=false\n")
    for path in ("/usr/sbin/policy-rc.d", "/run/systemd/system", "/etc/systemd/system"):
        functions = functions.replace(path, f"{folder}{path}")
        (folder / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    file = folder / "bootstrap"
    file.write_text(f'{functions}\nas_root() {{ "$@"; }}\n{code}\n')
    return subprocess.run(
        ["bash", file], capture_output=True, text=True, timeout=30, check=False,
        env={"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder)},
    )  # fmt: skip


def apt_that_knows(folder: Path, known: dict[str, str]) -> None:
    """It answers as `apt-cache policy` does, which prints nothing of an unknown name."""
    (folder / "bin").mkdir()
    cases = "".join(
        f"{name}) printf '{name}:\\n  Installed: (none)\\n  Candidate: {version}\\n' ;;\n"
        for name, version in known.items()
    )
    file = folder / "bin" / "apt-cache"
    file.write_text(f"#!/bin/sh\ncase $2 in\n{cases}esac\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("known", "package"),
    [
        (BOOKWORM, "libvirt-daemon"),
        (TRIXIE, "libvirt-daemon-common"),
        (BACKPORTS, "libvirt-daemon"),
        ({**BOOKWORM, "libvirt-daemon-common": "(none)"}, "libvirt-daemon"),
        ({"libvirt-daemon-common": "12.0"}, "libvirt-daemon-common"),
        ({}, "libvirt-daemon"),
    ],
    ids=["12", "13", "12 with backports", "12 with a pin", "unknown library", "no lists"],
)
def test_a_package_with_two_names_is_that_of_the_library(
    known: dict[str, str], package: str, tmp_path: Path
) -> None:
    """A part of another libvirt would bring the whole of it, or refuse to be installed."""
    apt_that_knows(tmp_path, known)
    done = call(tmp_path, f"packages_here fio '{LIBVIRT}' gpg")
    assert (done.stdout, done.stderr) == (f"fio {package} gpg", "")


APT_GET = """#!/bin/sh
policy=$HOME/usr/sbin/policy-rc.d
for name in ssh cron; do
    status=0
    test ! -x "$policy" || "$policy" --quiet $name start || status=$?
    echo "$name $status"
done
exit "${ENDS_WITH:-0}"
"""


def install(folder: Path, *, ends_with: int = 0) -> subprocess.CompletedProcess[str]:
    """Install an SSH server: apt says which services may start (101: not; invoke-rc.d(8))."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, content in (("apt-get", APT_GET), ("dpkg", "#!/bin/sh\n")):
        (folder / "bin" / name).write_text(content)
        (folder / "bin" / name).chmod(0o755)
    return call(folder, f"export ENDS_WITH={ends_with}\n(install_packages openssh-server)")


@pytest.mark.parametrize("ends_with", [0, 1])
def test_without_systemd_the_ssh_server_alone_is_kept_from_starting(
    ends_with: int, tmp_path: Path
) -> None:
    """Only while packages are installed, however that ends; its units are masked as well."""
    done = install(tmp_path, ends_with=ends_with)
    assert (done.stdout, done.returncode) == ("ssh 101\ncron 0\n", ends_with), done.stderr
    assert not (tmp_path / "usr/sbin/policy-rc.d").exists()
    assert (tmp_path / "etc/systemd/system/ssh.service").readlink() == Path("/dev/null")


def test_a_policy_that_is_there_decides_and_stays(tmp_path: Path) -> None:
    """Its owner may have good reasons."""
    policy = tmp_path / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)
    assert install(tmp_path).stdout == "ssh 104\ncron 104\n"
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_with_systemd_no_policy_is_needed(tmp_path: Path) -> None:
    """The masked units are enough."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert install(tmp_path).stdout == "ssh 0\ncron 0\n"


def test_the_policy_of_a_call_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    """It is known by its second line."""
    made = call(tmp_path, "keep_ssh_server_off")
    policy = tmp_path / "usr/sbin/policy-rc.d"
    assert policy.exists(), made.stderr
    assert install(tmp_path).stdout == "ssh 101\ncron 0\n"
    assert not policy.exists()
