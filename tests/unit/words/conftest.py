"""What tests of words share."""

import pytest

import vecstore


@pytest.fixture(scope="module")
def store(make_store):
    with vecstore.open(make_store("f32", rows=5000)) as opened:
        yield opened
