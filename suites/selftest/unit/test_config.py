"""The configuration: every mistake is refused with its origin, its key and what is allowed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config, load
from harness.config.profiles import FAST, STOCK
from harness.config.sizes import sized_for
from harness.errors import ConfigError
from harness.topology import plan
from harness.units import GIB, MIB
from suites.selftest.unit.config_file import complaint, loaded, networks, two_networks


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


def test_nothing_at_all_is_a_complete_configuration() -> None:
    """The built-in testbed: two networks, LIO, a fast profile."""
    config = load().config
    assert [str(network.subnet) for network in config.networks] == [
        "172.16.0.0/24",
        "172.16.1.0/24",
    ]
    assert config.profile == FAST
    assert {s.origin for s in load().settings()} == {"default"}


def test_a_file_in_the_current_folder_is_found() -> None:
    """`pathproof.toml` needs no option."""
    Path("pathproof.toml").write_text('name = "mine"')
    assert load().config.name == "mine"


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    """It is handed around, so it must stay what was validated."""
    with pytest.raises(ValueError, match="frozen"):
        Config().name = "other"  # type: ignore[misc]


def test_an_unknown_key_is_named_with_the_one_that_was_meant() -> None:
    """All keys that are allowed there are named, too."""
    text = complaint("[workload]\ndept = 8\n")
    assert text.startswith("own.toml: unknown key 'workload.dept'; did you mean 'depth'?")
    assert "region, block_size, depth" in text


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[targt]\nkind = 'lio'", "targt", "target"),
        (networks().replace("initiator", "initator", 1), "initator", "initiator"),
        ("[profiles.own]\nfast_io_fail = 3", "profiles.own.fast_io_fail", "fast_io_fail_s"),
    ],
)
def test_unknown_keys_are_found_at_every_depth(text: str, key: str, meant: str) -> None:
    """At the top, within a list of tables, within a table of the user's naming."""
    assert f"unknown key {key!r}; did you mean {meant!r}?" in complaint(text)


def test_a_wrong_value_is_named_with_the_allowed_ones() -> None:
    """What was given is named, too."""
    text = complaint("[target]\nkind = 'lioo'\n[hypervisor]\naccel = 'fast'\n")
    assert "own.toml: target.kind: must be 'lio', 'tgt', 'iet' or 'external'" in text
    assert "(got 'lioo')" in text
    assert "own.toml: hypervisor.accel: must be 'auto', 'kvm' or 'tcg'" in text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name = 'Has Space'", "name"),
        ("[machines]\nmemory = '100 parsecs'", "machines.memory"),
        ("[machines]\nmemory = '64MiB'", "machines.memory"),
        ("[machines]\ncpus = 0", "machines.cpus"),
        ("[target]\nport = 65536", "target.port"),
        ("[target]\nlun_size = 0", "target.lun_size"),
        ("[target]\nlun_size = 16777217", "target.lun_size"),
        ("[workload]\nprobe_iops = 99", "workload.probe_iops"),
        ("[workload]\nblock_size = 5000", "workload.block_size"),
        ("[workload]\nblock_size = '64MiB'", "workload.block_size"),
        ("[budget]\nslack_s = -1", "budget.slack_s"),
        ("[profiles.own]\nnoop_out_interval_s = 0", "profiles.own.noop_out_interval_s"),
        (networks(subnet="10.2.0.1/24"), "network b, subnet"),
        (networks(portal="10.2.0"), "network b, portal 1, address"),
    ],
)
def test_what_is_out_of_range_or_malformed_is_named(text: str, key: str) -> None:
    """By file and key."""
    assert complaint(text).startswith(f"own.toml: {key}: ")


def test_all_mistakes_are_told_at_once() -> None:
    """All of them are told in one run."""
    text = complaint("bogus = 1\n[target]\nport = 0\nkind = 'x'\n")
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("subnet", ["10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/24"])
def test_overlapping_subnets_are_refused(subnet: str) -> None:
    """The kernel would send one network's packets over the other."""
    text = networks(subnet).replace("10.2.0", "10.1.0").replace("10.1.0.2", "10.1.0.9")
    assert "overlap" in complaint(text)


@pytest.mark.parametrize(
    ("key", "kind"),
    [("bridge", "bridge"), ("libvirt_network", "network")],
    ids=["bridge", "network"],
)
def test_two_networks_on_one_wire_are_refused(key: str, kind: str) -> None:
    """One fault would take the paths of both."""
    system = '[hypervisor]\nuri = "qemu:///system"\n'
    text = system + networks().replace("subnet", f'{key} = "san"\nsubnet')
    assert f"are both on {kind} san" in complaint(text)
    other = text.replace(f'{key} = "san"', f'{key} = "san-2"', 1)
    assert len(loaded(other).config.networks) == 2


def test_what_an_initiator_over_ssh_needs_is_named() -> None:
    """A host key may be the whole line of its file."""
    wwid = "360014057043dfe0435de773ca03bbf04"
    external = f'[target]\nkind = "external"\nwwid = "{wwid}"\n[initiator]\nmachine = '
    assert 'machine = "ssh" needs [initiator.ssh]' in complaint(external + '"ssh"')
    table = '[initiator.ssh]\nhost = "h"\nkey = "k"\nhost_key = "ssh-ed25519 AAAA root@array-1"\n'
    assert 'has an effect with machine = "ssh" only' in complaint(f'{external}"local"\n{table}')
    ssh = loaded(f'{external}"ssh"\n{table}').config.initiator.ssh
    assert ssh is not None
    assert ssh.host_key == "ssh-ed25519 AAAA"


def test_one_path_is_not_multipath() -> None:
    """The message says what to add."""
    text = complaint(networks().split('[[networks]]\nname = "b"')[0])
    assert "at least two paths, 1 given" in text
    assert "[[networks]]" in text


def test_two_networks_of_one_name_are_refused() -> None:
    """A fault would not know which one to break."""
    assert "two are named 'a'" in complaint(networks().replace('"b"', '"a"'))


def test_an_address_outside_its_subnet_is_refused() -> None:
    """With the network and both of them."""
    assert "network b: 10.3.0.1 is not in 10.2.0.0/24" in complaint(networks(portal="10.3.0.1"))


def test_both_ends_need_addresses_of_their_own() -> None:
    """One address on two machines answers at random."""
    assert "share 10.2.0.2" in complaint(networks(portal="10.2.0.2"))


def test_a_network_has_one_carrier() -> None:
    """A libvirt network or a bridge, not both."""
    text = complaint(networks() + 'libvirt_network = "n"\nbridge = "br0"\n')
    assert "'libvirt_network' or 'bridge'" in text


def test_only_lio_has_access_states() -> None:
    """Other kinds would ignore them."""
    refused = complaint(f'target.kind = "tgt"\n{controllers("optimized", "non-optimized")}')
    assert "controller c2, access_state: it is for a target of kind 'lio'" in refused


def controllers(*states: str) -> str:
    """One on each of two networks, with that access state."""
    text = two_networks(', controller = "c"')
    return text.replace('"c"', '"c1"', 1).replace('"c"', '"c2"') + "".join(
        f'[[controllers]]\nname = "c{n}"\naccess_state = "{state}"\n'
        for n, state in enumerate(states, start=1)
    )


def test_one_controller_at_least_is_optimized() -> None:
    """Else the states would tell no path from another."""
    config = loaded(controllers("optimized", "non-optimized")).config
    assert [one.access_state for one in config.controllers] == ["optimized", "non-optimized"]
    text = complaint(controllers("non-optimized", "non-optimized"))
    assert text.startswith("own.toml: controllers: all of them are non-optimized, so that no path")


@pytest.mark.parametrize("kind", ["tgt", "iet", "lio"])
def test_groups_by_priority_need_a_target_that_has_priorities(kind: str) -> None:
    """Without ALUA multipathd puts all paths into one group."""
    text = f'target.kind = "{kind}"\ninitiator.path_grouping_policy = "group_by_prio"\n'
    if kind == "lio":
        assert loaded(text).config.initiator.path_grouping_policy == "group_by_prio"
    else:
        refused = complaint(text)
        assert "initiator.path_grouping_policy: with 'group_by_prio' all paths would be" in refused
        assert f"a target of kind '{kind}' has no ALUA" in refused


def test_what_an_external_target_is_not_told_is_refused() -> None:
    """It would look as if it were."""
    external = '[target]\nkind = "external"\n'
    described = loaded(f'{external}backstore = "fileio"\n{two_networks()}')
    assert described.config.target.backstore == "fileio"
    text = complaint(f'{external}write_cache = "write-back"\n{two_networks()}')
    assert "write_cache: nothing is configured on an external target" in text


def test_a_region_larger_than_the_lun_is_refused() -> None:
    """Both sizes are named, and either may be changed."""
    text = complaint("[target]\nlun_size = '32MiB'\n[workload]\nregion = '64MiB'\n")
    assert "workload.region: 64.0 MiB do not fit the LUN of 32.0 MiB" in text


def test_an_undefined_profile_is_refused_with_those_that_there_are() -> None:
    """The built-in ones and the user's own."""
    text = complaint("[initiator]\nprofile = 'slow'\n[profiles.own]\nfast_io_fail_s = 5\n")
    assert "'slow' is not defined; there are fast, own, stock" in text


def test_own_profiles_join_the_built_in_ones() -> None:
    """What they do not name stays as the distribution has it."""
    config = loaded("[initiator]\nprofile = 'own'\n[profiles.own]\nfast_io_fail_s = 5\n").config
    assert config.profile.fast_io_fail_s == 5
    assert config.profile.noop_out_interval_s is None
    assert config.profiles["stock"] == STOCK


def test_sizes_may_be_written_as_people_write_them() -> None:
    """With decimal or binary units."""
    config = loaded("[target]\nlun_size = '1GB'\n[machines]\nmemory = '1GiB'\n").config
    assert (config.target.lun_size, config.machines.memory) == (10**9, GIB)


def test_an_option_overrides_the_file_and_is_named_as_the_origin() -> None:
    """What neither of them sets comes from the defaults."""
    result = loaded(
        "[target]\nlun_size = '64MiB'\nbackstore = 'fileio'\n",
        target__backstore=("block", "--backstore"),
    )
    origins = {s.key: (s.value, s.origin) for s in result.settings()}
    assert origins["target.backstore"] == ("block", "--backstore")
    assert origins["target.lun_size"] == (64 * MIB, "own.toml")
    assert origins["target.port"] == (3260, "default")


def test_a_longest_stall_may_be_demanded() -> None:
    """In seconds; none is by default."""
    assert loaded("").config.budget.max_stall_s is None
    config = loaded("", budget__max_stall_s=("2.5", "--max-stall")).config
    assert config.budget.max_stall_s == 2.5
    text = complaint("", budget__max_stall_s=("0", "--max-stall"))
    assert text.startswith("--max-stall: budget.max_stall_s: must be more than 0 (got '0')")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("budget__max_stall_s", "inf", "must be a finite number"),
        ("budget__max_stall_s", "nan", "must be a finite number"),
        ("budget__max_stall_s", "soon", "must be a number"),
        ("budget__slack_s", "-1", "must be 0 or more"),
        ("target__port", "70000", "must be 65535 or less"),
        ("target__port", "3.5", "must be a whole number"),
        ("hypervisor__fork", "perhaps", "must be true or false"),
    ],
)
def test_what_a_number_must_be_is_said_in_our_words(key: str, value: str, reason: str) -> None:
    """One sentence, with what was given; no stall is longer than for ever."""
    text = complaint("", **{key: (value, "--option")})
    dotted = key.replace("__", ".")
    assert text.splitlines()[0] == f"--option: {dotted}: {reason} (got {value!r})"


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize(
    ("before", "key"),
    [
        ("[target]\n", "port"),
        ("[workload]\n", "second_look_s"),
        ("[hypervisor]\n", "testbeds"),
        (networks(), "vlan"),
    ],
)
def test_a_number_is_neither_true_nor_false(before: str, key: str, value: str) -> None:
    """`vlan = true` would be VLAN 1."""
    (line,) = complaint(f"{before}{key} = {value}\n").splitlines()
    assert line.endswith(f"{key}: must be a number (got {value.title()})")


def test_values_in_lists_of_tables_have_an_origin_too() -> None:
    """The networks come from the file or from the defaults, as a whole."""
    origins = {s.key: s.origin for s in loaded(networks()).settings()}
    assert origins["networks.1.subnet"] == "own.toml"


def test_a_wrong_option_is_blamed_on_the_option() -> None:
    """Not on the file, which may be perfectly right."""
    text = complaint("[target]\nkind = 'lio'\n", target__kind=("tgtt", "--target"))
    assert text.startswith("--target: target.kind: ")


def test_an_option_that_contradicts_the_rest_is_blamed_on_the_option() -> None:
    """Also where the contradiction is only seen once all values are known."""
    text = complaint("name = 'mine'\n", initiator__profile=("slow", "--profile"))
    assert text.startswith("--profile: initiator.profile: 'slow' is not defined")


def test_a_missing_file_is_named() -> None:
    """With the option to give another."""
    with pytest.raises(ConfigError, match=r"missing\.toml: No such file") as refusal:
        load(Path("missing.toml"))
    assert "--testbed" in refusal.value.hint


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_not_toml_is_named(content: bytes) -> None:
    """Whether it is malformed or not even text."""
    Path("own.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^own\.toml: not valid TOML"):
        load(Path("own.toml"))


@given(
    st.dictionaries(
        st.sampled_from(["name", "target", "networks", "topology", "workload", "profiles", "zzz"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["iqn", "name", "region", "x"]), inner)
            ),
            max_leaves=6,
        ),
    )
)
def test_whatever_is_configured_is_accepted_or_refused_as_a_mistake(raw: dict[str, object]) -> None:
    """Never with a traceback of the validation's own."""
    options = {key: (value, "--option") for key, value in raw.items()}
    with suppress(ConfigError):
        assert len(plan(load(None, options).config).paths) >= 2


def test_kvm_gets_what_it_carries_and_what_was_changed_stays() -> None:
    """Emulation has the defaults."""
    config = Config.model_validate({"machines": {"memory": "1GiB"}})
    assert sized_for(config, "tcg") == config
    kvm = sized_for(config, "kvm")
    assert (kvm.machines.cpus, kvm.machines.memory) == (2, GIB)
    load = kvm.workload
    assert (load.region, load.write_iops, load.read_iops) == (256 * MIB, 320, 200)
    assert load.probe_iops == 500
    reads = config.workload.region / config.workload.read_iops
    assert load.region / load.read_iops == reads  # verified reads last as long


def test_defaults_that_are_written_out_change_nothing() -> None:
    """`pathproof config --toml` prints them so, and a fleet sends them so to its hosts."""
    copied = Config.model_validate_json(Config().model_dump_json())
    assert copied.machines.model_fields_set
    assert sized_for(copied, "kvm") == sized_for(Config(), "kvm")


@pytest.mark.parametrize(
    "stated",
    [
        {"workload": {"read_iops": 60}},
        {"workload": {"region": "32MiB"}},
        {"target": {"lun_size": "100MiB"}},
    ],
)
def test_a_load_is_sized_as_a_whole(stated: dict[str, dict[str, object]]) -> None:
    """Reads at four times the pace would end before the test does, in an area that stays small."""
    config = Config.model_validate(stated)
    assert sized_for(config, "kvm").workload == config.workload
    assert sized_for(config, "kvm").machines.cpus == 2
