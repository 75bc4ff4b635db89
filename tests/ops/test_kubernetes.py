"""The manifests: they fit together, and a server started as the Deployment says answers its probes and reloads."""

from __future__ import annotations

import signal
import tomllib
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml

from tests.integration.conftest import ROOT, Running
from tests.integration.redis_server import free_port
from tests.ops.image import steps_of
from tests.ops.login import JWT_KEY, client_of, token_of

FOLDER = ROOT / "ops" / "kubernetes"
MANIFESTS: list[dict[str, Any]] = [
    manifest for file in sorted(FOLDER.rglob("*.yaml")) for manifest in yaml.safe_load_all(file.read_text())
]


def manifest(kind: str, name: str = "fws") -> dict[str, Any]:
    (only,) = (one for one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return only


POD = manifest("Deployment")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
FILE = "fws.toml"
TOML: str = manifest("ConfigMap")["data"][FILE]
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
SECRET = {"REDIS_URL": "", "JWT_KEY": JWT_KEY}


def environ_of(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container, with the values of the Secret that it names."""
    values = {}
    for variable in container["env"]:
        if "value" in variable:
            values[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "fws"
            values[variable["name"]] = SECRET[reference["key"]]
    return values


def test_the_configuration_is_the_one_of_the_other_deployments() -> None:
    assert (ROOT / "ops" / "conf" / FILE).read_text() == TOML


def test_every_selector_finds_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    deployment = manifest("Deployment")["spec"]
    assert deployment["selector"]["matchLabels"].items() <= labels
    assert manifest("Service")["spec"]["selector"].items() <= labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert manifest("PodMonitor")["spec"]["selector"]["matchLabels"].items() <= labels
    for spread in POD["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    redis = manifest("Deployment", "redis")["spec"]
    assert redis["selector"]["matchLabels"].items() <= redis["template"]["metadata"]["labels"].items()
    assert manifest("Service", "redis")["spec"]["selector"] == redis["selector"]["matchLabels"]


def test_every_name_that_refers_to_something_finds_it() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    (service,) = manifest("Service")["spec"]["ports"]
    assert service["targetPort"] == "web"
    for probe in PROBES:
        assert CONTAINER[probe]["httpGet"]["port"] == "admin"
    (endpoint,) = manifest("PodMonitor")["spec"]["podMetricsEndpoints"]
    annotations = POD["metadata"]["annotations"]
    assert (endpoint["port"], ports["admin"]) == ("admin", int(annotations["prometheus.io/port"]))
    assert endpoint["path"] == annotations["prometheus.io/path"]
    scaled = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert manifest(scaled["kind"], scaled["name"])["apiVersion"] == scaled["apiVersion"]
    allowed = [rule["ports"][0]["port"] for rule in manifest("NetworkPolicy")["spec"]["ingress"]]
    assert sorted(allowed) == sorted(ports)
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["conf"]["configMap"]["name"] == manifest("ConfigMap")["metadata"]["name"]
    assert f"{mounts['conf']}/{FILE}" in CONTAINER["args"]
    (runtime,) = (
        word.partition("=")[2]
        for step in steps_of((ROOT / "Dockerfile").read_text())
        if step.word == "ENV"
        for word in step.text.split()
        if word.startswith("RUNTIME_DIRECTORY=")
    )
    assert mounts["run"] == runtime
    # fws listens where the ports say.
    environ = environ_of(CONTAINER)
    assert int(environ["FWS_LISTEN"].split(":")[1]) == ports["web"]
    assert int(environ["FWS_ADMIN"].split(":")[1]) == ports["admin"]


def test_a_pod_has_time_to_drain() -> None:
    command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    drain = int(tomllib.loads(TOML)["server"]["drain"].removesuffix("s"))
    assert POD["spec"]["terminationGracePeriodSeconds"] > int(seconds) + drain


def test_a_pod_may_not_do_much() -> None:
    user = next(step.text for step in steps_of((ROOT / "Dockerfile").read_text()) if step.word == "USER")
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == user
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert set(CONTAINER["resources"]) == {"requests", "limits"}
    # A Service named fws would otherwise put FWS_PORT and others into the environment.
    assert POD["spec"]["enableServiceLinks"] is False


class ConfigMapVolume:
    """A folder as the kubelet makes it: `fws.toml` leads to `..data/fws.toml`, and `..data` to one of its versions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0

    def write(self, text: str) -> None:
        """Swap in a new version, in one step."""
        before = self.folder / f"..version-{self._version}"
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        (version / FILE).write_text(text)
        new = self.folder / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(self.folder / "..data")
        if before.exists():
            (before / FILE).unlink()
            before.rmdir()
        else:
            (self.folder / FILE).symlink_to(f"..data/{FILE}")


class Node:
    """A server started with the arguments and the environment of the Deployment, on other ports."""

    def __init__(self, folder: Path, *, watches: bool) -> None:
        self.volume = ConfigMapVolume(folder)
        self.volume.write(TOML)
        self.admin = free_port()
        self.port = free_port()
        word, *arguments = (one.replace("/etc/fws", str(folder)) for one in CONTAINER["args"])
        assert word == "fws"
        if not watches:
            arguments.remove("--watch")
        environ = environ_of(CONTAINER) | {"FWS_PROXIES": "127.0.0.1"}
        environ["FWS_LISTEN"] = f"127.0.0.1:{self.port}"
        environ["FWS_ADMIN"] = f"127.0.0.1:{self.admin}"
        self.running = Running(arguments, folder, environ)
        self.running.wait_for("listening on")

    def get(self, path: str) -> int:
        try:
            with urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code


def test_a_pod_answers_its_probes_and_prometheus(tmp_path: Path) -> None:
    node = Node(tmp_path, watches=False)
    try:
        paths = {CONTAINER[probe]["httpGet"]["path"] for probe in PROBES}
        for path in (*sorted(paths), POD["metadata"]["annotations"]["prometheus.io/path"]):
            assert (path, node.get(path)) == (path, 200)
    finally:
        node.running.end()


def test_a_pod_takes_a_new_version_of_the_configmap(tmp_path: Path) -> None:
    node = Node(tmp_path, watches=True)
    try:
        with client_of(node.port, token_of("ann")) as ann:
            ann.send("hello")
            assert ann.recv(timeout=10) == "hello"
            node.volume.write(TOML.replace("20/s burst=40", "30/s burst=50"))
            node.running.wait_for("generation 2")
            ann.send("still here")
            assert ann.recv(timeout=10) == "still here"
        assert node.running.stop() == 0
    finally:
        node.running.end()


def test_without_watching_a_signal_takes_the_new_version(tmp_path: Path) -> None:
    node = Node(tmp_path, watches=False)
    try:
        node.volume.write(TOML.replace("20/s burst=40", "30/s burst=50"))
        node.running.signal(signal.SIGHUP)
        node.running.wait_for("generation 2")
        assert node.running.stop() == 0
    finally:
        node.running.end()
