"""The account of a page, and the addresses that need an account."""

import pytest
from vitsplice_app.account import Account, check_access, is_local

from vitsplice.errors import UserError

ACCOUNT = Account("ada", "a:b")


@pytest.mark.parametrize("given", ["", "Basic", "Basic Og==", "Bearer YWRhOmE6Yg==", "Basic " + "x" * 999, "\xe9"])
def test_account_refuses_other_credentials(given):
    assert not ACCOUNT.matches(given)


def test_account_accepts_its_user_and_password():
    assert ACCOUNT.matches("Basic YWRhOmE6Yg==")
    assert Account.parse("ada:a:b") == ACCOUNT


@pytest.mark.parametrize("scheme", ["basic", "BASIC"])
def test_scheme_is_case_insensitive(scheme):
    assert ACCOUNT.matches(f"{scheme} YWRhOmE6Yg==")


def test_password_that_no_browser_can_send_is_refused():
    with pytest.raises(UserError, match="cannot be encoded as UTF-8"):
        Account.parse("ada:\udcff")


@pytest.mark.parametrize("text", ["", "ada", "ada:", ":secret", ":"])
def test_account_without_user_or_password_is_refused(text):
    with pytest.raises(UserError, match="user:password"):
        Account.parse(text)


def test_password_is_not_shown():
    assert "a:b" not in repr(ACCOUNT)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_local_address_needs_no_account(host):
    assert is_local(host)
    check_access(host, None, allow_anyone=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "127.0.0.1.example.com"])
def test_address_that_other_machines_reach_needs_an_account_or_permission(host):
    with pytest.raises(UserError, match=r"other machines may reach .* auth USER, or allow .* with allow_anyone=True"):
        check_access(host, None, allow_anyone=False)
    check_access(host, ACCOUNT, allow_anyone=False)
    check_access(host, None, allow_anyone=True)


def test_empty_address_is_refused():
    with pytest.raises(UserError, match="empty; give one"):
        check_access("", ACCOUNT, allow_anyone=True)
