"""`scripts/setup.sh` finds its way on strange machines. Its programs are made up; nothing is installed."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.billing_site.programs import ROOT

# Notes how it was called, finds a Python unless told not to, makes as much of an environment as we look at.
UV = """#!/bin/sh
echo "$@" >>"{calls}"
case "$*" in
  *--help) exit ;;
  "python find"*) [ -z "${{NO_PYTHON:-}}" ] && echo /made/up/python3.13 ;;
  "python install"*) exit 1 ;;
  sync*)
    mkdir -p .venv/bin && : >.venv/bin/python && chmod +x .venv/bin/python
    echo "$PWD/.venv" >.venv/bin/activate ;;
esac
"""
DEAF = "#!/bin/sh\nexit 127\n"


@dataclass
class Machine:
    """A checkout, and the programs on PATH before the system's own."""

    checkout: Path
    bin: Path
    calls: Path
    variables: dict[str, str] = field(default_factory=dict)

    def has(self, path: Path, content: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.format(calls=self.calls) if content is UV else content)
        path.chmod(0o755)

    def set_up(self, *words: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        return subprocess.run(
            ["sh", "scripts/setup.sh", *words],
            check=False,
            cwd=self.checkout,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.bin.parent), **self.variables},
            capture_output=True,
            text=True,
            timeout=30,
        )

    def synced(self) -> list[str]:
        return [
            line for line in self.calls.read_text().splitlines() if line.startswith("sync") and "--help" not in line
        ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout = tmp_path / "check out"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", ".python-version", "scripts/setup.sh"):
        shutil.copyfile(ROOT / name, checkout / name)
    made = Machine(checkout, tmp_path / "bin", tmp_path / "calls")
    made.has(made.bin / "uv", UV)
    for python in ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"):
        made.has(made.bin / python, DEAF)  # as pyenv's shims are
    return made


def test_a_second_run_does_nothing(machine: Machine) -> None:
    assert machine.set_up("dev").returncode == 0
    assert machine.synced() == ["sync --quiet --inexact --extra devdb --all-groups"]

    again = machine.set_up("dev")

    assert (again.returncode, again.stderr, machine.calls.read_text()) == (0, "", "")


def test_what_the_tests_need_serves_for_running_but_not_the_other_way(machine: Machine) -> None:
    machine.set_up()
    assert machine.synced() == ["sync --quiet --inexact --extra devdb --no-default-groups"]
    machine.set_up("dev")
    assert len(machine.synced()) == 1

    machine.set_up()

    assert machine.synced() == []


@pytest.mark.parametrize("name", ["pyproject.toml", ".python-version"])
def test_a_changed_file_sets_up_anew(machine: Machine, name: str) -> None:
    machine.set_up()
    with (machine.checkout / name).open("a") as file:
        file.write("\n")

    machine.set_up()

    assert len(machine.synced()) == 1


def test_a_moved_checkout_gets_an_environment_of_its_own(machine: Machine) -> None:
    machine.set_up()
    (machine.checkout / ".venv" / "of the old place").touch()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))

    machine.set_up()

    assert len(machine.synced()) == 1
    assert not (machine.checkout / ".venv" / "of the old place").exists()


def test_an_environment_whose_python_is_gone_is_built_again(machine: Machine) -> None:
    machine.set_up()
    (machine.checkout / ".venv/bin/python").unlink()

    machine.set_up()

    assert len(machine.synced()) == 1


def test_a_uv_that_does_not_answer_is_left_aside_for_our_own(machine: Machine) -> None:
    machine.has(machine.bin / "uv", DEAF)
    machine.has(machine.checkout / ".tools/bin/uv", UV)

    assert machine.set_up().returncode == 0

    assert len(machine.synced()) == 1


def test_without_uv_and_without_python_there_is_one_clear_sentence(machine: Machine) -> None:
    machine.has(machine.bin / "uv", DEAF)
    only_shell = machine.bin.with_name("only-shell")
    only_shell.mkdir()
    for program in ("sh", "dirname", "cat", "cksum", "grep", "rm"):
        (only_shell / program).symlink_to(str(shutil.which(program)))
    script = (machine.checkout / "scripts/setup.sh").read_text().replace("/usr/bin/python3", "/no/python3")
    (machine.checkout / "scripts/setup.sh").write_text(script)
    machine.variables["PATH"] = f"{machine.bin}:{only_shell}"

    failed = machine.set_up()

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("setup: there is no uv here and no Python with venv and pip")


def test_with_only_an_old_python_and_none_to_fetch_there_is_one_clear_sentence(machine: Machine) -> None:
    machine.variables["NO_PYTHON"] = "yes"

    failed = machine.set_up()

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "setup: it could not be fetched: install Python 3.12 or newer, then run make again"
    )
    assert not (machine.checkout / ".venv").exists()


def test_a_user_without_a_home_can_set_up(machine: Machine) -> None:
    machine.variables["HOME"] = os.devnull

    assert machine.set_up().returncode == 0
