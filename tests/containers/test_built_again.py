"""Images are the same each time that they are built.

By its name this file is the first of the folder. Where nothing has been built yet, the layers that it makes
anew are then there for the images of the other tests: they are compiled once, not twice.
"""

import os

from container_users import IMAGES, NEWEST, Mtt, skip_where_nothing_is_built


def test_built_again_it_is_the_same(mtt: Mtt) -> None:
    """Every layer made anew, on another day, in another place, with another name and umask."""
    elsewhere = {"TZ": "Asia/Tokyo", "USER": "somebody", "LC_ALL": "C", "TMPDIR": "/var/tmp"}
    # Without it, as `make` runs the tests, Python writes bytecode of its own accord.
    elsewhere |= {
        "PYTHONDONTWRITEBYTECODE": "" if os.environ.get("PYTHONDONTWRITEBYTECODE") else "1"
    }
    before = os.umask(0o077)
    try:
        result = mtt("image", "check", NEWEST, **elsewhere)
    finally:
        os.umask(before)
    skip_where_nothing_is_built(result, NEWEST)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(f"the same: {IMAGES[NEWEST].digest}\n")
