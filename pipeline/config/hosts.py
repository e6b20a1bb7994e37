"""Names and addresses of hosts: what a setting may name, and what a Host header may hold."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator

ANY = "*"
MAX_NAME = 253  # characters of a name in DNS
MAX_PORT = 65535
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)
_HEADER = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def host_of_header(value: str) -> str | None:
    """The name in a Host header, in lower case and without its port (RFC 9110, 7.2); None if the header is malformed.

    Strict: a name or address and at most a port in digits. No user name, no empty name, no empty port.
    """
    found = _HEADER.fullmatch(value)
    if found is None or int(found["port"] or 0) > MAX_PORT:
        return None
    name = found["name"]
    if name.startswith("["):
        return _ipv6(name[1:-1])
    return name.lower() if len(name) <= MAX_NAME and _NAME.fullmatch(name) else None


def _ipv6(text: str) -> str | None:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _listen_address(value: str) -> str:
    if not value.strip():
        raise ValueError(
            "is empty, which would listen on every address; use 127.0.0.1 for this machine alone or 0.0.0.0 for the whole "
            "network"
        )
    return _host_name(value)


def _host_name(value: str) -> str:
    """A name or an address, spelled in the usual way; digits and dots alone must be an IPv4 address."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not re.fullmatch(r"[0-9.]*", value) and len(value) <= MAX_NAME and _NAME.fullmatch(value):
            return value
    raise ValueError(
        f"{value!r} is no host name or IP address; write it without scheme, port and brackets, e.g. photos.example or ::1"
    )


def _accepted_host(value: str) -> str:
    return value if value == ANY else _host_name(value)


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
AcceptedHost = Annotated[str, AfterValidator(_accepted_host)]
