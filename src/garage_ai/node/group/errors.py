"""What keeps rigs from being a group.

NodeError
└── GroupError          group_error         50
    ├── NoGroup         no_group            51    this node belongs to no group
    ├── BadSecret       bad_group_secret    52    what was given is no group's secret
    ├── NoTunnel        no_group_tunnel     53    the group's own network is not set up here
    └── BadPeer         bad_group_peer      54    who is at the other end is not of this group
"""

from garage_ai.node.errors import NodeError


class GroupError(NodeError):
    code = "group_error"
    exit_code = 50


class NoGroup(GroupError):
    code = "no_group"
    exit_code = 51


class BadSecret(GroupError):
    code = "bad_group_secret"
    exit_code = 52


class NoTunnel(GroupError):
    code = "no_group_tunnel"
    exit_code = 53


class BadPeer(GroupError):
    code = "bad_group_peer"
    exit_code = 54


__all__ = ["BadPeer", "BadSecret", "GroupError", "NoGroup", "NoTunnel"]
