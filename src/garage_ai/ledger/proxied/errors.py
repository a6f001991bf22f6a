"""What can be wrong with the calls of a proxy.

ProxiedError               code
├── MappingNotFound        mapping_not_found     nothing is mapped under that name
├── UnknownMember          member_not_found      nobody to map to
└── InvalidMapping         invalid_field         a name that cannot be kept
"""


class ProxiedError(Exception):
    """Anything that is refused of a proxy's calls."""

    code = "proxied_error"


class MappingNotFound(ProxiedError):
    code = "mapping_not_found"


class UnknownMember(ProxiedError):
    code = "member_not_found"


class InvalidMapping(ProxiedError):
    code = "invalid_field"
    field = "value"


__all__ = ["InvalidMapping", "MappingNotFound", "ProxiedError", "UnknownMember"]
