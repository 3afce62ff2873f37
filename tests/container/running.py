"""Containers for tests: run by podman as a lease would run them, with less rights than it would give."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parents[2] / ".cache" / "containers" / "root"
"""Where `.ci/image` puts them."""

# Health is asked for by the tests: podman would leave that to systemd, which need not be there.
BARE = ["--network", "host", "--no-healthcheck", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
LOCKED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

PATIENCE = 300
"""Seconds for what takes a few: so long that no machine is too busy."""


class Podman:
    """podman with containers of its own in *folder*, so that nobody else's are in the way, and nothing is left of them."""

    def __init__(self, folder: str) -> None:
        self._command = [
            "podman",
            *("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay"),
            *("--storage-opt", f"additionalimagestore={IMAGES}", "--events-backend", "file"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs"),
        ]

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )
        assert not (check and done.returncode), f"podman {words} failed: {done.stderr[-2000:]}"
        return done


@dataclass(frozen=True)
class Image:
    """One that was built."""

    podman: Podman
    name: str

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What stands in it beside its files."""
        inspected = json.loads(self.podman("inspect", "--type", "image", self.name).stdout)[0]
        return inspected["Config"] | {"Healthcheck": inspected["Healthcheck"]}

    def call(self, *words: str, program: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """A container from its begin to its end; *program* instead of dwebbackup."""
        entry = ["--entrypoint", program] if program else []
        return self.podman("run", "--rm", *BARE, *LOCKED, *entry, self.name, *words, check=check)

    @contextmanager
    def running(self, environment: Mapping[str, object], *options: str) -> Iterator[Container]:
        """The sidecar, until the block ends; its last words are shown if that is by an error."""
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        begun = self.podman("run", "--detach", *BARE, *LOCKED, *options, *given, self.name)
        container = Container(self.podman, begun.stdout.strip())
        try:
            yield container
        except BaseException:
            print(f"the container's log:\n{container.log()[-8000:]}")
            raise
        finally:
            self.podman("rm", "--force", "--volumes", "--time", "0", container.id)


@dataclass(frozen=True)
class Container:
    """One that was started."""

    podman: Podman
    id: str

    def log(self) -> str:
        done = self.podman("logs", self.id, check=False)
        return done.stdout + done.stderr

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command beside the sidecar, in its container."""
        return self.podman("exec", self.id, *words, check=check)

    def signal(self, name: str) -> None:
        self.podman("kill", "--signal", name, self.id)

    def kill(self) -> None:
        """As when the machine fails."""
        self.signal("KILL")
        self.podman("wait", self.id)

    def stop(self) -> int:
        """As a provider does, who would wait for half a minute, not for as long. Gives the exit status, 137 if killed."""
        self.podman("stop", "--time", str(PATIENCE), self.id)
        return int(self.state["ExitCode"])

    @property
    def state(self) -> Mapping[str, Any]:
        return json.loads(self.podman("inspect", "--type", "container", self.id).stdout)[0]["State"]

    @cached_property
    def _process(self) -> Path:
        """Of the sidecar, as the host sees it. To ask podman each time would cost more than what is waited for."""
        return Path("/proc", str(self.state["Pid"]))

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Fails at once when the sidecar has ended."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self._process.exists(), f"the container ended before {what}"
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
            time.sleep(0.2)

    def out_of_memory(self) -> int:
        """How many of its processes the system killed because they needed more than it was given."""
        kept = self.run(
            "bash", "-c", "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events", check=False
        )
        return int(dict(line.split() for line in kept.stdout.splitlines())["oom_kill"])

    def zombies(self) -> list[str]:
        """Processes that ended, and that nobody asked how."""
        every = self.run("bash", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true").stdout.splitlines()
        return [line for line in every if line.rpartition(")")[2].split()[:1] == ["Z"]]
