"""Secrets in an output are covered, wherever it is cut."""

import os
import threading
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import wait_for
from wrapper.builds.mask import COVER, Mask, copy, forms

SECRET = b"first-line-1\nsecond-line\n"
WORDS = [b"first-line-1", b"first-", b"line-1", b"\n", b"second-line", b"x"]
PIECES = st.lists(st.sampled_from(WORDS))


def covered(mask, *pieces):
    return b"".join(map(mask, pieces)) + mask.flush()


def test_the_whole_its_lines_and_its_base64_are_covered():
    whole = b64encode(SECRET.strip())
    mask = Mask([SECRET])
    said = b"a " + SECRET + b" b first-line-1 c " + whole + b" d second-line e"
    assert covered(mask, said) == b"a ***\n b *** c ***" + b"=" * whole.count(b"=") + (
        b" d *** e"
    )


def test_a_short_one_is_left_as_it_would_cover_half_of_a_log():
    assert forms(b"short\n") == {b"c2hvcnQK", b"c2hvcnQ"}
    assert covered(Mask([b"a\nlonger-line\n"]), b"a longer-line") == b"a ***"


@given(PIECES, st.integers(1, 5))
def test_it_is_all_the_same_where_the_output_is_cut(pieces, size):
    said = b"".join(pieces)
    cut = [said[i : i + size] for i in range(0, len(said), size)]
    found = covered(Mask([SECRET]), *cut)
    # A line that comes alone is covered before it is known that the next one follows.
    whole = covered(Mask([SECRET]), said)
    assert found.replace(b"***\n***", COVER) == whole.replace(b"***\n***", COVER)
    assert b"first-line-1" not in found and b"second-line" not in found


def test_nothing_is_held_back_for_long():
    source, sink = os.pipe()
    shown: list[bytes] = []
    run = threading.Thread(target=copy, args=(source, shown.append, Mask([SECRET])))
    run.start()
    os.write(sink, b"Password: first")  # waits for an answer
    wait_for(lambda: b"".join(shown) == b"Password: first")
    os.write(sink, b" first-line-1")
    os.close(sink)
    run.join(10)
    assert b"".join(shown) == b"Password: first " + COVER
