"""What LIO does serve, read from configfs, compared with what it is to serve.

Sources: Documentation/target/ and iscsi_target_configfs.c in drivers/target/iscsi of the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.config.credentials import ChapConfig, Confidential
from harness.target.lio.saveconfig import ACCESS_TYPE, Serving

# One line "key=value" for each fact; of a secret, whether it is the one that standard input has.
# The shell reads by itself: under emulation each `cat` would take it 20 ms.
LOOK = r"""
IFS= read -r incoming || :
IFS= read -r outgoing || :
value() { REPLY=; { IFS= read -r REPLY <"$1"; } 2>/dev/null || :; }
show() { value "$2"; echo "$1=$REPLY"; }
secret() {
  value "$2"
  if [ "$REPLY" = "$3" ]; then echo "$1 secret=right"; else echo "$1 secret=another"; fi
}
for group in /sys/kernel/config/target/iscsi/"$1"/tpgt_*; do
  [ -e "$group" ] || continue
  tag=${group##*tpgt_}
  for name in enable attrib/authentication attrib/generate_node_acls; do
    show "$tag ${name##*/}" "$group/$name"
  done
  for portal in "$group"/np/*; do
    [ ! -e "$portal" ] || echo "$tag portal ${portal##*/}=yes"
  done
  for unit in "$group"/lun/lun_*/*/udev_path; do
    [ -e "$unit" ] || continue
    unit=${unit%/udev_path} lun=${unit%/*}
    name="$tag ${lun##*/}"
    show "$name" "$unit/udev_path"
    show "$name write cache" "$unit/attrib/emulate_write_cache"
    while IFS= read -r line; do
      case $line in
        *"Primary Access State: "*) echo "$name alua=${line#*: }" ;;
        *"Port Alias: "*)
          show "$tag alua of ${lun##*/}" "$unit/alua/${line#*: }/alua_access_type" ;;
      esac
    done <"$lun/alua_tg_pt_gp"
  done
  for acl in "$group"/acls/*; do
    [ -e "$acl" ] || continue
    name="$tag acl ${acl##*/}"
    echo "$name=yes"
    show "$name user" "$acl/auth/userid"
    show "$name target's user" "$acl/auth/userid_mutual"
    show "$name mutual" "$acl/auth/authenticate_target"
    secret "$name" "$acl/auth/password" "$incoming"
    secret "$name target's" "$acl/auth/password_mutual" "$outgoing"
    for mapped in "$acl"/lun_*; do
      [ ! -e "$mapped" ] || show "$name ${mapped##*/} write protect" "$mapped/write_protect"
    done
  done
done
"""


def expected(chap: ChapConfig | None) -> Confidential:
    """LOOK's standard input: the secrets that the target should have, a line each."""
    known = [one.revealed for one in (chap.incoming, chap.outgoing) if one] if chap else []
    return Confidential("".join(f"{secret}\n" for secret in known).encode())


def parse_look(text: str) -> dict[str, str]:
    """Facts by their names from LOOK's output, which is "1 portal 172.16.0.1:3260=yes" a line."""
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}


def differences(wanted: Serving, running: Mapping[str, str]) -> list[str]:
    """What runs otherwise than it was asked for, one text each. None of them has a secret."""
    facts = _facts(wanted)
    differing = []
    for key, value in facts.items():
        if (has := running.get(key, "missing")) != value:
            differing.append(f"{key} is {has}, not {value}")
    served = [
        key
        for key in running
        if " portal " in key or key.split()[1].startswith("lun_") or key.endswith(" write protect")
    ]
    return differing + [f"{key} is more than was asked for" for key in served if key not in facts]


def _facts(wanted: Serving) -> dict[str, str]:
    facts: dict[str, str] = {}
    for group in wanted.groups:
        tag = group.tag
        facts[f"{tag} enable"] = "1"
        facts[f"{tag} authentication"] = str(int(bool(wanted.chap)))
        facts[f"{tag} generate_node_acls"] = "0"
        facts |= {f"{tag} portal {portal}": "yes" for portal in group.portals}
        for number, unit in enumerate(group.units):
            facts[f"{tag} lun_{number}"] = unit.path
            facts[f"{tag} lun_{number} write cache"] = str(int(unit.write_back))
            facts[f"{tag} lun_{number} alua"] = group.alua.value[1]
            if wanted.has_access_states:
                facts[f"{tag} alua of lun_{number}"] = ACCESS_TYPE[1]
        for initiator in wanted.initiators:
            name = f"{tag} acl {initiator.iqn}"
            facts |= {name: "yes", **_credential_facts(name, wanted.chap)}
            facts |= {
                f"{name} lun_{number} write protect": str(int(read_only))
                for number, read_only in initiator.luns.items()
                if number < len(group.units)
            }
    return facts


def _credential_facts(name: str, chap: ChapConfig | None) -> dict[str, str]:
    if chap is None:
        return {}
    facts = {
        f"{name} mutual": str(int(bool(chap.outgoing))),
        f"{name} user": chap.incoming.user,
        f"{name} secret": "right",
    }
    if chap.outgoing:
        facts[f"{name} target's user"] = chap.outgoing.user
        facts[f"{name} target's secret"] = "right"
    return facts
