#!/usr/bin/env python3
"""Checks what a running server answers against its own OpenAPI description, with schemathesis 4.

    cargo build -p skiff-server-example
    python3 -m venv venv && venv/bin/pip install 'schemathesis>=4,<5'
    venv/bin/python examples/server/tests/openapi.py target/debug/skiff-server

The server that it starts works in a temporary directory and is ended whatever happens. There are fleets, devices, two releases
and the delta between them before anything is checked, so that what is good is answered well. Everything is asked twice: as an
administrator and as a device. The data are the same every time. Ends with a status other than 0 where anything is found.
"""

import hashlib
import io
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

ADMINISTRATOR = "administrator-" + "0" * 32
DEVICE_QUERY = "formats=1&codecs=1,2,3,4,5,6,7"
# Guards against what hangs: how fast the machine is says nothing of the server.
SECONDS = 300
END = time.monotonic() + SECONDS


def blob(directory, content):
    digest = hashlib.sha256(content).hexdigest()
    place = directory / "blobs" / "sha256"
    place.mkdir(parents=True, exist_ok=True)
    (place / digest).write_bytes(content)
    return {"digest": "sha256:" + digest, "size": len(content)}


def image(directory, number):
    """One layer: a file that all images have but for its middle, and one that tells which it is."""
    large = bytearray(random.Random(7).randbytes(200_000))
    large[100_000] ^= number
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, content in (("app", bytes(large)), ("version", b"%d" % number)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    layer = blob(directory, layer.getvalue())
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    oci = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": {"mediaType": oci + "config.v1+json", **blob(directory, json.dumps(config).encode())},
        "layers": [{"mediaType": oci + "layer.v1.tar", **layer}],
    }
    return {
        "mediaType": oci + "manifest.v1+json",
        **blob(directory, json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": str(number)},
    }


def write_images(directory):
    manifests = [image(directory, number) for number in (1, 2)]
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return manifests


class Api:
    def __init__(self, url):
        self.url = url

    def call(self, method, path, body=None, token=ADMINISTRATOR):
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(content) if is_json and content else content

    def until(self, path, is_done, token=ADMINISTRATOR):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status, answer = self.call("GET", path, token=token)
            if is_done(status, answer):
                return answer
            time.sleep(0.1)
        raise TimeoutError(path)


def populate(api):
    """What the checks find there; returns what they need to know of it."""
    api.call("POST", "/v1/fleets", {"name": "pumps"})
    api.call("POST", "/v1/fleets", {"name": "spares"})
    token = api.call("POST", "/v1/fleets/pumps/devices", {"name": "pump-1"})[1]["token"]
    for name in ("pump-2", "pump-3"):
        api.call("POST", "/v1/fleets/pumps/devices", {"name": name})
    releases = []
    for number in (1, 2):
        api.call("POST", "/v1/fleets/pumps/releases", {"image": f"oci:app:{number}"})
        state = api.until(
            f"/v1/fleets/pumps/releases/{number}", lambda _, answer: answer["state"]["state"] != "preparing"
        )["state"]
        releases.append(state["release"])
        if number == 1:
            api.call("PUT", "/v1/device/status", {"running": state["release"], "phase": "idle"}, token)
    # One that fails, and is removed.
    api.call("POST", "/v1/fleets/pumps/releases", {"image": "oci:app:none"})
    api.until("/v1/fleets/pumps/releases/3", lambda _, answer: answer["state"]["state"] == "failed")
    for path in ("fleets/pumps", "devices/pump-1", "devices/pump-2"):
        api.call("PUT", f"/v1/{path}/configuration/COLOUR", {"value": "red"})
    base, target = releases
    api.until(f"/v1/deltas/{base}/{target}?{DEVICE_QUERY}", lambda status, _: status == 200, token)
    return token, base, target


def settings(directory, known):
    """How to go about it with whatever is thought of, and with what is known to the server in place of that."""
    lines = []
    # No schema tells whether there is an image at a place, what is a signature, or what a variable takes.
    for operation in (
        "POST /v1/fleets/{fleet}/releases",
        "PUT /v1/signatures/{base}",
        "PUT /v1/fleets/{fleet}/configuration/{variable}",
        "PUT /v1/devices/{device}/configuration/{variable}",
    ):
        statuses = '["2xx", "401", "403", "404", "409", "422"]'
        lines += ["[[operations]]", f'include-name = "{operation}"']
        lines += [f"checks.positive_data_acceptance.expected-statuses = {statuses}"]
    # A poll that is as it was is held for so long.
    lines += ["[[operations]]", 'include-name = "GET /v1/device/target"', "parameters = { wait = 1 }"]
    anything = directory / "anything.toml"
    anything.write_text("\n".join(lines) + "\n")
    base, target, digest = known
    lines[:0] = [
        "[parameters]",
        'fleet = "pumps"',
        'device = "pump-2"',
        'variable = "COLOUR"',
        "number = 1",
        f'base = "{base}"',
        f'target = "{target}"',
        f'digest = "{digest}"',
        'reference = "latest"',
    ]
    # What is removed is none of what the others ask for.
    for path, parameter in (
        ("/v1/fleets/{fleet}", 'fleet = "spares"'),
        ("/v1/devices/{device}", 'device = "pump-3"'),
        ("/v1/fleets/{fleet}/releases/{number}", "number = 3"),
    ):
        lines += ["[[operations]]", f'include-name = "DELETE {path}"', f"parameters = {{ {parameter} }}"]
    there = directory / "there.toml"
    there.write_text("\n".join(lines) + "\n")
    return anything, there


def check(api, who, token, config, options):
    """One run of schemathesis; whether it found nothing."""
    if time.monotonic() > END:
        raise TimeoutError(f"it takes more than {SECONDS} s")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", api.url + "/v1/openapi.json", "--checks", "all", "--mode", "all"]
    command += ["--generation-deterministic", "--no-color"]
    command += ["--request-timeout", "20", "-H", "Authorization: Bearer " + token]
    # A stream does not end, which no check waits for; that it is refused without a token is tested elsewhere.
    command += ["--exclude-path", "/v1/events"]
    print(f"-- {who}", flush=True)
    start = time.monotonic()
    # What takes longer than all may take is ended, and fails.
    done = subprocess.run(command + options, stdin=subprocess.DEVNULL, cwd=config.parent, timeout=END - start)
    status = done.returncode
    print(f"-- {who}: {time.monotonic() - start:.0f} s, status {status}", flush=True)
    return status == 0


def run(program, directory):
    manifests = write_images(directory / "images" / "app")
    command = [program, "--data", str(directory / "data"), "--images", str(directory / "images")]
    environment = {**os.environ, "SKIFF_SERVER_TOKEN": ADMINISTRATOR, "SKIFF_LOG": os.environ.get("SKIFF_LOG", "error")}
    server = subprocess.Popen(
        command + ["--listen", "127.0.0.1:0", "--level", "fast"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        if not address:
            raise RuntimeError("the server does not start")
        api = Api(address.group())
        token, base, target = populate(api)
        anything, there = settings(directory, (base, target, manifests[1]["digest"]))
        few = ["--max-examples", "20"]
        good = [
            # The device comes first: administrators make its token unknown.
            check(api, "a device, what is there", token, there, few + ["--phases", "examples,coverage,fuzzing"]),
            check(api, "a device, whatever is thought of", token, anything, few + ["--phases", "fuzzing"]),
            check(api, "an administrator, what is there", ADMINISTRATOR, there, few + ["--phases", "examples,coverage,fuzzing"]),
            check(api, "an administrator, whatever is thought of", ADMINISTRATOR, anything, few),
        ]
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}")
        return all(good)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: openapi.py SKIFF-SERVER")
    program = str(pathlib.Path(sys.argv[1]).resolve())
    # The server is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        is_good = run(program, pathlib.Path(directory))
    seconds = time.monotonic() - start
    print(f"-- {seconds:.0f} s of {SECONDS}")
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
