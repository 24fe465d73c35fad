"""The command line as a whole: help, version, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import vecstore as package
from vecstore.cli.sizes import format_bytes, parse_size
from vecstore.errors import MissingExtraError, OptionError

COMMANDS = ("convert", "export", "info", "get", "search", "verify", "codecs", "formats", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(good, command):
    text = good(command, "--help").stdout
    assert "Examples" in text and f"vecstore {command} " in text.replace("\n", " ") + " "


def test_no_argument_shows_the_commands(vecstore):
    result = vecstore()
    assert result.exit_code == 2 and all(command in result.stdout for command in COMMANDS)


def test_python_m_vecstore():
    run = subprocess.run([sys.executable, "-m", "vecstore", "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"vecstore {package.__version__}\n", "")


def test_help_imports_no_numpy():
    program = "import sys; from vecstore.cli import app; print('numpy' in sys.modules, 'numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False False\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_stdout_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "vecstore", "codecs"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (
        run.returncode == 1 and run.stderr.startswith("vecstore: error: no space left") and run.stderr.count("\n") == 1
    )


def test_reader_that_leaves():
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run([sys.executable, "-m", "vecstore", "codecs"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (run.returncode, run.stderr) == (1, "")


@pytest.mark.parametrize(("word", "status"), [("schön", 0), ("größer", 2)])
def test_ascii_terminal(good, word, status):
    Path("words.txt").write_text("2 2\nschön 1 2\nkühl 2 1\n", encoding="utf-8")
    good("convert", "words.txt", "words.vecs")
    command = [sys.executable, "-m", "vecstore", "search", "words.vecs", "--key", word]
    run = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert run.returncode == status and (rb"k\xfchl" in run.stdout or rb"gr\xf6\xdfer" in run.stderr)


def test_misspelt_command_and_option(fails):
    assert "did you mean 'convert'?" in fails("convrt")
    assert "--codec" in fails("convert", "x.npy", "x.vecs", "--codek", "sq:8")
    assert "'--metric'" in fails("convert", "x.npy", "x.vecs", "--metric", "manhattan")
    assert "SRC" in fails("convert")


def test_traceback_only_with_debug(vecstore, fails):
    fails("info", "nothing.vecs")
    with pytest.raises(FileNotFoundError):
        vecstore("--debug", "info", "nothing.vecs")
    assert "--debug" in fails("convert", "--debug", "x.npy", "x.vecs")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (
            OSError(28, "No space left on device", "x.vecs"),
            1,
            "x.vecs: no space left on device; make room where it is written",
        ),
        (PermissionError(13, "Permission denied", "x.vecs"), 1, "x.vecs: permission denied"),
        (MissingExtraError("reading parquet needs pyarrow: pip install pyarrow"), 2, "pip install"),
        (RuntimeError("two\nlines"), 1, "RuntimeError: two lines"),
    ],
)
def test_failures_end_in_one_line(fails, monkeypatch, error, status, line):
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(package, "convert", failing)
    assert line in fails("convert", "x.npy", "x.vecs", status=status)


def test_ctrl_c(tmp_path):
    program = "import os, signal, vecstore; from vecstore.cli import main\n"
    program += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
    program += "vecstore.convert = lambda *a, **o: os.kill(os.getpid(), signal.SIGINT)\n"
    program += "main(['convert', 'x.vec', 'x.vecs'])"
    (tmp_path / "x.vec").write_text("1 1\na 1\n")
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (130, "vecstore: error: interrupted; nothing was written\n")


def test_terminated(tmp_path):
    program = "import os, signal, vecstore; from vecstore.cli import main\n"
    program += "def convert(*a, **o):\n    try: os.kill(os.getpid(), signal.SIGTERM)\n    finally: print('unwound')\n"
    program += "vecstore.convert = convert\nmain(['convert', 'x.vec', 'x.vecs'])"
    (tmp_path / "x.vec").write_text("1 1\na 1\n")
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (
        128 + signal.SIGTERM,
        "unwound\n",
        "vecstore: error: ended; nothing was written\n",
    )


def test_warnings_become_notes(good, monkeypatch):
    convert = package.convert

    def warning(*args: object, **options: object) -> object:
        warnings.warn("pca keeps\nmore", UserWarning, stacklevel=1)
        warnings.warn("nobody's business", DeprecationWarning, stacklevel=1)
        return convert(*args, **options)

    monkeypatch.setattr(package, "convert", warning)
    text = good("convert", "x.npy", "x.vecs").stderr
    assert "\nvecstore: note: pca keeps more\n" in text and "business" not in text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 * 10**6),
        ("1GiB", 2**30),
        ("1.5 gib", 3 * 2**29),
        ("64k", 64000),
        ("7", 7),
        ("2 B", 2),
        ("1T", 10**12),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1XB", "-1", "0", "0.1", "1e6", "inf", "1 2", "i", "5i"])
def test_bad_sizes(text):
    with pytest.raises(OptionError, match="is not a size"):
        parse_size(text)


def test_shown_sizes():
    shown = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_999: "1.0 MB", 83_400_000: "83.4 MB", 5 * 10**12: "5.0 TB"}
    assert {size: format_bytes(size) for size in shown} == shown
