"""What travels to the hosts of a fleet and back: parcels, arguments, addresses, results."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import execnet
import pytest

from harness.config.fleet import HostConfig
from harness.errors import ConfigError, MachineError
from harness.fleet import Ready, Receiver, send_results
from harness.fleet.parcel import ENVIRONMENT, pack, working_tree
from harness.fleet.reach import remote_host
from harness.fleet.results import CHUNK, Message
from harness.plugin.fleet_session import relative


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files of all kinds, and no git."""
    top = tmp_path / "checkout"
    for name in (
        *map(str, ENVIRONMENT),
        *("suites/test_a.py", "images/a.toml", "notes.txt", "odd\nname", "reports/style.css"),
        *(".venv/bin/python", "node_modules/a.js", "harness/__pycache__/a.pyc", "reports/out/a"),
    ):
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (top / "bootstrap").chmod(0o755)
    (top / ".gitignore").write_text(
        ".venv/\nnode_modules/\n__pycache__/\nreports/out/\nnotes.txt\n"
    )
    return top


def git(top: Path, *words: str) -> None:
    subprocess.run(["git", "-C", top, *words], check=True, capture_output=True)


def unpacked(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


WANTED = {*map(str, ENVIRONMENT), "suites/test_a.py", "images/a.toml", "odd\nname"} | {
    "reports/style.css"
}


def test_what_git_tracks_or_would_track_travels(checkout: Path) -> None:
    """It travels as it is now, without ignored and removed files."""
    git(checkout, "init")
    git(checkout, "add", "suites", "harness", "reports")
    (checkout / "suites" / "test_a.py").rename(checkout / "suites" / "test_b.py")
    expected = WANTED - {"suites/test_a.py"} | {"suites/test_b.py", ".gitignore"}
    assert {str(file) for file in working_tree(checkout)} == expected


def test_without_git_all_but_the_makings_travels(checkout: Path) -> None:
    """Also inside a repository that has nothing to do with it, and ignores it."""
    expected = WANTED | {"notes.txt", ".gitignore"}
    assert {str(file) for file in working_tree(checkout)} == expected
    git(checkout.parent, "init")
    (checkout.parent / ".gitignore").write_text("checkout\n")
    assert {str(file) for file in working_tree(checkout)} == expected


def test_where_git_is_not_installed_all_but_the_makings_travels(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a checkout may have come as an archive."""
    git(checkout, "init")
    monkeypatch.setenv("PATH", str(checkout / "images"))
    expected = WANTED | {"notes.txt", ".gitignore"}
    assert {str(file) for file in working_tree(checkout)} == expected


def test_what_is_no_checkout_does_not_travel(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot travel to other hosts: bootstrap, req"):
        working_tree(tmp_path)


def test_a_parcel_is_named_by_its_content(checkout: Path) -> None:
    """By names, content and which files are executable; not by their time or place."""
    files = [Path("bootstrap"), Path("suites/test_a.py")]
    parcel = pack("code", checkout, files)
    (checkout / "suites" / "test_a.py").touch()
    assert pack("code", checkout, reversed(files)).name == parcel.name
    assert unpacked(parcel.archive)["bootstrap"].mode == 0o755
    assert list(unpacked(parcel.archive))[-1] == parcel.last
    names = {parcel.name, pack("code", checkout, files[:1]).name}
    (checkout / "bootstrap").chmod(0o644)
    names.add(pack("code", checkout, files).name)
    (checkout / "bootstrap").write_text("other")
    names.add(pack("code", checkout, files).name)
    assert len(names) == 4


def test_a_gateway_is_what_execnet_understands() -> None:
    """With a connection that notices when the host is gone."""
    config = HostConfig(address="me@host:2222", ssh_config=Path("/a b/config"))
    folder = PurePosixPath("/home/me/.cache/pathproof/fleet")
    ready = Ready(
        config=config, machine=remote_host(config), folder=folder, code=folder / "code-1",
        python="env PYTHONPATH=/x /y/bootstrap python", run=folder / "run-1", slots=1,
    )  # fmt: skip
    spec = execnet.XSpec(ready.gateway("host-1", within="suites"))
    assert spec.ssh is not None
    assert spec.ssh.split()[-3:] == ["-p", "2222", "me@host"]
    assert "-oServerAliveInterval=4" in spec.ssh.split()
    assert (spec.id, spec.ssh_config) == ("host-1", "/a b/config")
    assert spec.chdir == f"{folder}/code-1/suites"
    assert spec.python == "env PYTHONPATH=/x /y/bootstrap python"


def test_a_host_that_cannot_be_reached_is_told_in_words_of_ssh() -> None:
    host = remote_host(HostConfig(address="nobody@127.0.0.1:1"))
    with pytest.raises(MachineError, match=r"127\.0\.0\.1: cannot be reached: .*refused") as error:
        host.reach(["true"])
    assert "nobody@127.0.0.1 true` must work" in error.value.hint


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("suites/failover", "suites/failover"),
        ("/top/suites/failover", "suites/failover"),
        ("/top/suites/test_a.py::test[/top/x]", "suites/test_a.py::test[/top/x]"),
        ("--testbed=/top/lab=1.toml", "--testbed=lab=1.toml"),
        ("--rootdir=/top", "--rootdir=."),
        ("/topless/a", "/topless/a"),
        ("--junitxml=/elsewhere/a.xml", "--junitxml=/elsewhere/a.xml"),
        ("-k", "-k"),
        ("a == /top/b", "a == /top/b"),
    ],
)
def test_paths_in_the_checkout_are_made_relative(argument: str, expected: str) -> None:
    """The checkout is elsewhere on other hosts."""
    assert relative(argument, top=Path("/top"), here=Path("/top")) == expected


def test_paths_are_relative_to_where_pytest_was_started() -> None:
    moved = relative("/top/suites/a", top=Path("/top"), here=Path("/top/suites/b"))
    assert moved == "../a"


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_results_arrive_whole_and_are_sent_once(tmp_path: Path, size: int) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (there / "a.json").write_bytes(b"x" * size)
    sent: list[Message] = []
    send_results(there, sent.append)
    send_results(there, sent.append)
    receiver = Receiver(here, worker="host-1")
    for message in sent:
        assert not (here / "a.json").exists()
        receiver.take(message)
    assert (here / "a.json").read_bytes() == b"x" * size
    assert [path.name for path in here.iterdir()] == ["a.json"]
    assert max(len(piece) for _, piece, _ in sent) <= CHUNK
    assert receiver.problem == ""


def test_results_that_are_not_taken_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("x")

    def broken(message: Message) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        send_results(tmp_path, broken)
    assert (tmp_path / "a.json").read_text() == "x"
    send_results(tmp_path / "never made", broken)


@pytest.mark.parametrize("name", ["../a", "/a", "a/b", ".hidden", ".."])
def test_results_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    """Whatever a host says."""
    (tmp_path / "results").mkdir()
    receiver = Receiver(tmp_path / "results", worker="host-1")
    receiver.take((name, b"x", False))
    assert "host-1: sent a result with the name" in receiver.problem
    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


def test_results_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "missing", worker="host-1")
    receiver.take(("a.json", b"x", False))
    assert receiver.problem == "host-1: result a.json could not be kept: No such file or directory"
