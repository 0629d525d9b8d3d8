"""The account that a page may ask for (HTTP basic authentication), and who can reach the page without one."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address

from vitsplice.errors import Argument, UserError

AUTH_VARIABLE = "VITSPLICE_APP_AUTH"
"""Environment variable with ``user:password``, or with ``user`` only: the command then asks for the password."""


@dataclass(frozen=True)
class Account:
    """A user and a password.

    Args:
        user: name, not empty, without a colon.
        password: password, not empty; it may have colons.
    """

    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Account:
        """Return the account of ``user:password``.

        Raises:
            UserError: if the user or the password is empty or missing, or the text cannot be encoded as UTF-8.
        """
        user, _, password = text.partition(":")
        if not user or not password:
            raise UserError("the account lacks a user or a password; give user:password with ", Argument("auth"))
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = "the user or the password cannot be encoded as UTF-8, as browsers send it; give another with "
            raise UserError(problem, Argument("auth")) from error
        return cls(user, password)

    def matches(self, header: str) -> bool:
        """Return True if the header ``Authorization`` of a request has this user and password."""
        scheme, _, credentials = header.partition(" ")
        expected = base64.b64encode(f"{self.user}:{self.password}".encode())
        return scheme.lower() == "basic" and secrets.compare_digest(credentials.encode(), expected)


def is_local(host: str) -> bool:
    """Return True for ``localhost`` and loopback addresses, which only this machine can reach; no name is looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, account: Account | None, allow_anyone: bool) -> None:
    """Raise UserError if ``host`` is empty, or not local (`is_local`) without ``account`` or ``allow_anyone``."""
    if not host:
        raise UserError("the address to listen on is empty; give one, such as 127.0.0.1, with ", Argument("host"))
    if not (is_local(host) or account or allow_anyone):
        raise UserError(
            f"other machines may reach {host}, and could use the page and this machine; require an account with ",
            Argument("auth"),
            " USER, or allow access without an account with ",
            Argument("allow_anyone", True),
        )
