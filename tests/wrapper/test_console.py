"""What reaches the terminal, and what does not."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import wait_for
from wrapper import console
from wrapper.console import CHUNK, clean


@pytest.mark.parametrize(
    "text, seen",
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("10%\r20%\r\nend", "10%\n20%\nend"),
        ("a\x00b\x08c\x7fd", "abcd"),
        ("\x9b31mC1", "31mC1"),
        ("abc\u202edef\u2066\u200f", "abcdef"),
        ("✓ größer 中文 🎉", "✓ größer 中文 🎉"),
    ],
)
def test_clean(text, seen):
    assert clean(text.encode()).decode() == seen


def test_bytes_that_are_no_text_are_marked():
    assert clean(b"a\x9b31m\xff") == "a\ufffd31m\ufffd".encode()


@given(st.binary())
def test_nothing_is_left_to_control_a_terminal(data):
    left = clean(data)
    assert not set(left) & {*range(32), 127} - set(b"\t\n")
    assert clean(left) == left
    assert not any("\x7f" <= c <= "\x9f" for c in left.decode())


def test_a_line_is_one_line(capfd):
    console.say("o/n", "a\nb\r\x1b[1mc")
    assert capfd.readouterr().out[20:] == " o/n: a b c\n"


def relayed(capfd, *writes):
    """What the terminal shows of these writes."""
    source, sink = os.pipe()
    thread = threading.Thread(target=console.relay, args=(source, "o/n"))
    thread.start()
    for data in writes:
        os.write(sink, data)
    os.close(sink)
    thread.join(10)
    assert not thread.is_alive()
    return capfd.readouterr().out


def test_each_line_bears_the_repository(capfd):
    assert relayed(capfd, b"one\ntw", b"o\n\nthree") == (
        "o/n: one\no/n: two\no/n: \no/n: three\n"
    )


def test_a_carriage_return_cannot_hide_the_repository(capfd):
    assert relayed(capfd, b"one\rtwo\n") == "o/n: one\no/n: two\n"


def test_a_line_without_end_is_held_back_only_so_long(terminal):
    terminal.open()
    source, sink = os.pipe()
    thread = threading.Thread(target=console.relay, args=(source, "o/n"))
    thread.start()
    for _ in range(3):
        os.write(sink, b"x" * CHUNK)
    wait_for(lambda: terminal.text.count("x") >= 2 * CHUNK)  # before it ends
    os.close(sink)
    thread.join(10)
    shown = terminal.text
    assert shown.replace("o/n: ", "").replace("\n", "") == "x" * CHUNK * 3
    assert shown.count("\n") <= 3


def test_a_line_is_shown_when_it_ends_not_later(terminal):
    terminal.open()
    source, sink = os.pipe()
    thread = threading.Thread(target=console.relay, args=(source, "o/n"))
    thread.start()
    os.write(sink, b"now\n")
    wait_for(lambda: terminal.text == "o/n: now\n")
    os.close(sink)
    thread.join(10)


def test_a_terminal_that_is_gone_holds_up_nothing(monkeypatch):
    def gone(descriptor, data):
        raise BrokenPipeError

    source, sink = os.pipe()
    monkeypatch.setattr(console, "os", type("O", (), {"write": gone}))
    thread = threading.Thread(target=console.relay, args=(source, "o/n"))
    thread.start()
    for _ in range(10):
        os.write(sink, b"line\n" * 1000)
    os.close(sink)
    thread.join(10)
    assert not thread.is_alive()
