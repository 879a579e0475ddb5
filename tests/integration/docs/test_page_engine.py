"""What reads the pages finds lies: planted ones, of every kind, in pages of a few lines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.docs.pageoutput import difference
from tests.integration.docs.pagesteps import Command, Saved, steps
from tests.integration.docs.pageterminal import Terminal, TerminalError
from tests.integration.docs.pagewalk import HARMLESS, Reading, Walk
from tests.integration.docs.pageworld import listens, private_network
from tests.integration.processes import Process

RESULT = """\
2 images: 2 copied
blobs: 20 uploaded (52.1 MiB), 4 existed already (40.0 MiB); 40.0 MiB saved
110 requests in 2.3 s, 22.5 MiB/s
"""


GivePage = Callable[[str, Reading], list[str]]
READY = "sh -c 'echo ready; exec sleep 60'"


@pytest.fixture
def give_page(tmp_path: Path) -> GivePage:
    """Carry out a page whose commands are echo, sleep and sh; return its faults."""

    def give(text: str, reading: Reading) -> list[str]:
        def terminal() -> Terminal:
            return Terminal(tmp_path, env={"PATH": os.defpath})

        harmless = re.compile(r"(?:echo|sleep|sh|mirrord) .*")
        with Walk(reading, tmp_path, terminal, harmless=harmless, patience_s=0.2) as walk:
            walk.carry_out(text)
        return walk.faults

    return give


def page(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_steps_are_the_files_and_commands_of_a_page_in_order() -> None:
    text = page(
        "# Begin",
        "",
        "Save `a.yaml`:",
        "",
        "```yaml",
        "version: 1",
        "```",
        "",
        "```sh",
        "# a remark",
        "echo one",
        "```",
        "",
        "## Go on",
        "",
        "```console",
        "$ echo 'two",
        "lines'",
        "two",
        "lines",
        "$ echo three",
        "```",
    )

    assert list(steps(text)) == [
        Saved(6, "a.yaml", "version: 1\n"),
        Command(11, "echo one", section="# Begin"),
        Command(17, "echo 'two\nlines'", ("two", "lines"), "## Go on"),
        Command(21, "echo three", section="## Go on"),
    ]


def test_steps_save_no_yaml_that_is_only_shown() -> None:
    assert not list(steps(page("Such as:", "", "```yaml", "a: 1", "```")))


def test_steps_go_on_after_a_backslash() -> None:
    [command] = steps(page("```sh", "echo one \\", "  two", "```"))

    assert command == Command(2, "echo one \\\n  two")


def test_steps_refuse_a_dialogue_without_a_prompt() -> None:
    with pytest.raises(ValueError, match="line 2: a fence of console begins with"):
        list(steps(page("```console", "echo", "```")))


def test_output_is_the_same_where_only_durations_and_rates_differ() -> None:
    shown = RESULT.splitlines()

    assert not difference(shown, RESULT.replace("2.3 s, 22.5 MiB/s", "11 s, 940 KiB/s"))


@pytest.mark.parametrize(
    ("true", "lie"),
    [
        pytest.param("2 images: 2 copied", "2 images: 1 copied", id="a count"),
        pytest.param("52.1 MiB", "52.2 MiB", id="a size"),
        pytest.param("uploaded (", "sent (", id="a word"),
        pytest.param("110 requests", "130 requests", id="a number of requests"),
        pytest.param("\n110", "\n\n110", id="an empty line"),
        pytest.param("2.3 s", "2.3 min", id="a unit"),
        pytest.param("2 images: 2 copied\n", "", id="a line that is not shown"),
        pytest.param("2 images: 2 copied\n", "2 images: 2 copied\nand more\n", id="a line that is not there"),
    ],
)
def test_output_differs_where_a_page_lies(true: str, lie: str) -> None:
    assert true in RESULT

    found = difference(RESULT.replace(true, lie, 1).splitlines(), RESULT)

    assert "\n- " in f"\n{found}" or "\n+ " in f"\n{found}"


def test_output_that_is_left_out_may_be_anything_but_what_follows_must_be_there() -> None:
    assert not difference(["...", "c", "..."], "a\nb\nc\nd\n")
    assert not difference(["a", "...", "d"], "a\nd\n")
    assert not difference(["a (... here)"], "a (anything here)\n")
    assert difference(["a", "...", "d"], "a\nd\ne\n")
    assert difference(["...", "e", "..."], "a\nb\n")
    assert difference(["a (... here)"], "a (anything there)\n")


def test_output_may_be_shown_without_what_went_to_standard_error() -> None:
    assert not difference(["result"], "result\n", "progress\nresult\n")
    assert not difference(["progress", "result"], "result\n", "progress\nresult\n")
    assert difference(["progress"], "result\n", "progress\nresult\n")


def test_progress_lines_may_come_in_any_order_but_name_what_is_copied() -> None:
    one, two = "[1/2] copied a:1 -> b: 6.0 MiB uploaded, 1.3 s", "[2/2] copied a:2 -> b: 46.0 MiB uploaded, 1.3 s"

    assert not difference([one, two], page(two.replace("2/", "1/", 1), one.replace("1/", "2/", 1)))
    assert difference([one, two], page(one, two.replace("a:2", "a:3")))


def test_output_may_have_the_next_run_at_any_moment_within_the_interval() -> None:
    row = "web  in sync  - of 1 h  ok, 0 s ago  in {} min"

    assert not difference([row.format(14)], row.format(2))
    assert difference([row.format(14)], row.format(90))


@pytest.mark.parametrize(
    "command",
    [
        "useradd --system mirrord",
        "python3 -m venv /opt/mirrord",
        "systemctl enable --now mirrord",
        "mirrord version; rm -r ~",
        "mirrord version > /etc/motd",
        "mirrord sync --once --metrics-textfile /var/lib/node_exporter/mirrord.prom",
        'mirrord tags "$(reboot)"',
        "mirrord delete localhost:5002/a:1 --yes",
        "curl -X POST http://example.com/",
        "sed -i 's/a/b/' /etc/hosts",
        "docker run --rm ghcr.io/mirrord/mirrord:0.1.0 version",
    ],
)
def test_a_command_that_could_change_the_machine_is_not_harmless(command: str) -> None:
    assert HARMLESS.fullmatch(command) is None


def test_a_terminal_keeps_what_was_exported_and_the_last_exit_code(tmp_path: Path) -> None:
    with Terminal(tmp_path, env={"PATH": os.defpath}) as terminal:
        terminal.run("export GREETING=hello")
        said = terminal.run("echo $GREETING; echo problem >&2; (exit 3)")
        code = terminal.run("echo $?")

    assert said == (3, "hello\n", "problem\n")
    assert code.stdout == "3\n"


def test_a_terminal_says_which_command_did_not_end(tmp_path: Path) -> None:
    with (
        Terminal(tmp_path, env={"PATH": os.defpath}) as terminal,
        pytest.raises(TerminalError, match=r"did not end within 0.1 s: read < /dev/zero"),
    ):
        terminal.run("read < /dev/zero", timeout_s=0.1)


def test_a_page_that_is_true_has_no_fault(give_page: GivePage) -> None:
    text = page("```console", "$ echo hello", "hello", f"$ {READY}", "ready", "```", "```sh", "echo there", "```")

    faults = give_page(text, Reading(page="page.md", stays={READY: None}))

    assert not faults


@pytest.mark.parametrize(
    ("lie", "fault"),
    [
        pytest.param("$ echo hello\nhallo", "page.md:2: echo hello\n- hallo\n", id="output"),
        pytest.param("$ mirrord version", "page.md:2: mirrord version\nended with 127, not 0", id="an exit code"),
        pytest.param("$ rm -r /", "page.md:2: rm -r /\nwas not given: it is not known to be harmless", id="harm"),
        pytest.param("$ sleep 0", "page.md:2: sleep 0\ndid not stay", id="what should stay ends"),
        pytest.param(f"$ {READY}\nred", f"page.md:2: {READY}\n- red\n", id="output of what stays"),
        pytest.param("$ echo here\nhere", "page.md has no 'sleep 1'", id="a command that is gone"),
    ],
)
def test_a_lie_of_a_page_is_found_with_its_line(give_page: GivePage, lie: str, fault: str) -> None:
    stays = {command: None for command in ("sleep 0", READY) if command in lie}
    left_out = {"sleep 1": "it takes long"} if "here" in lie else {}

    faults = give_page(page("```console", lie, "```"), Reading(page="page.md", stays=stays, left_out=left_out))

    assert [found for found in faults if found.startswith(fault)], faults


def test_a_section_may_be_left_out_and_what_follows_it_is_not(give_page: GivePage) -> None:
    text = page("## Harm", "", "```sh", "# much of it", "rm -r /", "```", "## Lies", "", "```sh", "sh -c false", "```")

    faults = give_page(text, Reading(page="page.md", left_out={"## Harm": "it does harm"}))

    assert faults == ["page.md:10: sh -c false\nended with 1, not 0\n"]


def test_what_stays_is_ended_before_the_command_that_needs_its_place(give_page: GivePage) -> None:
    text = page("```console", f"$ {READY}", "ready", "$ echo next", "next", "```")

    faults = give_page(text, Reading(page="page.md", stays={READY: "echo next"}))

    assert not faults


def test_a_network_of_its_own_has_every_port_free(own_network: tuple[str, ...], tmp_path: Path) -> None:
    script = "import socket, time; s = socket.create_server(('127.0.0.1', 5001)); time.sleep(60)"
    with private_network() as other:
        servers = [
            Process([*prefix, "python3", "-c", script], log_dir=tmp_path, name=f"server-{number}")
            for number, prefix in enumerate((own_network, other))
        ]
        for server in servers:
            server.start()
        try:
            for server in servers:
                server.wait_until(lambda: listens(server.pid, 5001), what="listening")  # noqa: B023 - called at once

            assert all(server.alive for server in servers)
        finally:
            for server in servers:
                server.kill()
