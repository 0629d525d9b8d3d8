"""`make setup` installs with uv by the settings of pip."""

from install import uv_settings

PIP_CONFIG_LIST = r"""
:env:.default-timeout='180'
:env:.find-links='/env/wheels /more/wheels'
global.cert='/etc/certificates.crt'
global.constraint='/etc/constraints.txt'
global.extra-index-url='file:///first\nfile:///second'
global.find-links='/global/wheels'
global.index-url='https://mirror.example/simple'
install.constraint='/install/constraints.txt'
wheel.find-links='/other/command'
"""


def test_uv_receives_the_settings_of_pip():
    assert uv_settings(PIP_CONFIG_LIST) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_EXTRA_INDEX_URL": "file:///first file:///second",
        "UV_FIND_LINKS": "/env/wheels,/more/wheels",
        "UV_CONSTRAINT": "/install/constraints.txt",
        "SSL_CERT_FILE": "/etc/certificates.crt",
    }


def test_without_settings_of_pip_only_the_choice_among_indexes_is_set():
    assert uv_settings("") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}
