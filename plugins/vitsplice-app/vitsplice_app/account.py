"""The account that a page for other machines asks for (HTTP basic authentication)."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address

from vitsplice.errors import Argument, UserError

VARIABLE = "VITSPLICE_APP_AUTH"
"""Environment variable with ``user:password``."""


@dataclass(frozen=True)
class Account:
    """A user and a password.

    Args:
        user: name, without a colon.
        password: password.
    """

    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Account:
        """Return the account of ``user:password``. Raises UserError if one of them is empty."""
        user, _, password = text.partition(":")
        if not user or not password:
            raise UserError("an account is user:password, neither of them empty; give ", Argument("auth"))
        return cls(user, password)

    def matches(self, header: str) -> bool:
        """Return True if the header ``Authorization`` of a request has this user and password."""
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return secrets.compare_digest(header.encode(), f"Basic {expected}".encode())


def is_local(host: str) -> bool:
    """Return True if only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, account: Account | None, allow_anyone: bool) -> None:
    """Raise UserError if other machines can reach an address, and neither an account nor permission is given."""
    if not (is_local(host) or account or allow_anyone):
        raise UserError(
            f"other machines can reach {host}, and use the page and this machine; ask for an account with ",
            Argument("auth"),
            " user, or permit it with ",
            Argument("allow_anyone", True),
        )
