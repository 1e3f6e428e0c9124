"""Ray over two hosts: two network namespaces with a cable between them, each with its own /tmp/ray and /dev/shm.

Only root may make them, so elsewhere the test skips and says so.
"""

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .two_hosts import kill_host

pytest.importorskip("ray", reason="ray is not installed")

ADDRESSES = "10.203.0.1", "10.203.0.2"
PORT = 6399
# What only this host has: its own files of Ray, and its own shared memory.
OWN = "mount -t tmpfs tmpfs /tmp/ray && mount -t tmpfs tmpfs /dev/shm"


def run(*command):
    """What a command of the system says where it fails; empty where it does not."""
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if not found.returncode else f"{' '.join(command)}: {found.stderr.strip()}"


@pytest.fixture
def hosts():
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("two network namespaces need root and the command ip")
    names = [f"ancf{os.getpid()}{side}" for side in "ab"]
    Path("/tmp/ray").mkdir(exist_ok=True)
    steps = [("ip", "netns", "add", name) for name in names]
    steps.append(("ip", "link", "add", "cable", "netns", names[0], "type", "veth", "peer", "cable", "netns", names[1]))
    for name, address in zip(names, ADDRESSES, strict=True):
        steps.append(("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "cable"))
        steps += [("ip", "-n", name, "link", "set", device, "up") for device in ("cable", "lo")]
    steps += [("ip", "netns", "exec", name, "sh", "-c", OWN) for name in names]
    try:
        failed = next(filter(None, (run(*step) for step in steps)), None)
        if failed:
            pytest.skip(f"no two network namespaces here: {failed}")
        yield names
    finally:
        for name in names:
            run("ip", "netns", "del", name)


def on_host(name, script, environment, output):
    """A process of this host, with all that it starts."""
    command = ["ip", "netns", "exec", name, "sh", "-c", f"{OWN} && {script}"]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def test_two_hosts_give_the_bytes_of_one_and_survive_the_loss_of_the_other(hosts, tmp_path):
    python = Path(sys.executable)
    ray, driver = python.with_name("ray"), Path(__file__).with_name("two_hosts.py")
    start = f"{ray} start --block --object-store-memory 100000000 --node-ip-address"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **token, "RAY_USAGE_STATS_ENABLED": "0"}
    address = f"{ADDRESSES[0]}:{PORT}"
    head = f"{start} {ADDRESSES[0]} --head --port {PORT} --num-cpus 2 --include-dashboard false"
    first = f"({head} > {tmp_path}/head 2>&1 &) && exec {python} {driver} {address} {hosts[1]}"
    # Again and again until the first one listens.
    second = f"until {start} {ADDRESSES[1]} --address {address} --num-cpus 1; do sleep 1; done"
    with (tmp_path / "first").open("w") as of_first, (tmp_path / "second").open("w") as of_second:
        processes = [on_host(hosts[0], first, environment, of_first), on_host(hosts[1], second, environment, of_second)]
        try:
            processes[0].wait(600)
        finally:
            for name, process in zip(hosts, processes, strict=True):
                kill_host(name)
                process.wait()
    said = (tmp_path / "first").read_text()
    for line in ("trained over both: True", "lists of both: True", "networks: 2", "a host lost: 1 True"):
        assert line in said, said + (tmp_path / "head").read_text() + (tmp_path / "second").read_text()
