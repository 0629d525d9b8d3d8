import sys

import pytest

from vitsplice.errors import UserError
from vitsplice.video.packages import opencv, pyav


@pytest.mark.parametrize(("module", "load", "name"), [("av", pyav, "PyAV"), ("cv2", opencv, "OpenCV")])
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(monkeypatch, module, load, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"videos require the package {name}: pip install 'vitsplice\[video\]'"):
        load()
