#!/usr/bin/env python3
"""A Kubernetes API server for tests, with the controllers that Jobs need.

It answers as the real one does for what mains uses: lists in pages, watches with resourceVersion,
BOOKMARK and 410, create with 409, merge patches, deletes with propagation and grace, labels and
field selectors, and Status objects for what is refused. Objects that are created are checked
against Kubernetes' published OpenAPI (tests/recorded/kubernetes/openapi_1.25.json): unknown fields,
wrong types and missing ones are a 422, stricter than a real server's default.

A Job makes its pods, a scheduler binds them (affinity, taints, room), and a kubelet really runs
their command as a local process: exit codes, signals, logs and memory limits are what they are.
Paths of mounted volumes are folders below the state folder; in words and variables they are
replaced, as there is no mount.

    kube_api.py --dir DIR [--nodes N] [--token T] [--tls CERT KEY [--client-ca CA]]

prints the port on the first line and serves until SIGTERM. POST /control (a JSON object) is not
Kubernetes': it changes nodes and injects faults; see `Control`.
"""
import argparse, base64, copy, json, os, re, signal, socket, ssl, subprocess, sys, threading, time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "..", "recorded", "kubernetes", "openapi_1.25.json")
KINDS = {  # path -> (apiVersion, kind, definition)
    "nodes": ("v1", "Node", None),
    "pods": ("v1", "Pod", "io.k8s.api.core.v1.Pod"),
    "services": ("v1", "Service", "io.k8s.api.core.v1.Service"),
    "secrets": ("v1", "Secret", "io.k8s.api.core.v1.Secret"),
    "events": ("v1", "Event", None),
    "jobs": ("batch/v1", "Job", "io.k8s.api.batch.v1.Job"),
    "podgroups": ("scheduling.volcano.sh/v1beta1", "PodGroup", None),
}
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
TRACKED = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


def now(fraction=False):
    t = datetime.now(timezone.utc)
    return t.strftime("%Y-%m-%dT%H:%M:%S.%f000Z" if fraction else "%Y-%m-%dT%H:%M:%SZ")


def seconds_since(text):
    then = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds()


UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
         "E": 1e18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def quantity(value):
    m = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?", str(value or "0"))
    if not m:
        raise ValueError("quantity %r" % value)
    return float(m.group(1)) * UNITS[m.group(2) or ""]


# ---- the published schema ----

class Schema:
    def __init__(self, path):
        with open(path) as f:
            self.definitions = json.load(f)["definitions"]

    def check(self, name, value):
        """The list of what is wrong, as "path: why"."""
        out = []
        self.walk({"$ref": "#/definitions/" + name}, value, "", out)
        return out

    def walk(self, schema, value, path, out):
        if "$ref" in schema:
            name = schema["$ref"].split("/")[-1]
            schema = self.definitions[name]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                tries = [[] for _ in schema[key]]
                for one, errors in zip(schema[key], tries):
                    self.walk(one, value, path, errors)
                if all(tries):
                    out.append("%s: fits none of what it may be" % path)
                return
        types = {"object": dict, "array": list, "string": str, "boolean": bool,
                 "integer": int, "number": (int, float)}
        wanted = schema.get("type")
        if wanted and (not isinstance(value, types[wanted]) or
                       (wanted in ("integer", "number") and isinstance(value, bool))):
            out.append("%s: expected %s" % (path, wanted))
            return
        if "enum" in schema and value not in schema["enum"]:
            out.append("%s: %r is none of %s" % (path, value, schema["enum"]))
        if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
            for key in schema.get("required", []):
                if key not in value:
                    out.append("%s.%s: required" % (path, key))
            for key, item in value.items():
                if key in schema.get("properties", {}):
                    self.walk(schema["properties"][key], item, path + "." + key, out)
                elif isinstance(schema.get("additionalProperties"), dict):
                    self.walk(schema["additionalProperties"], item, path + "." + key, out)
                else:
                    out.append("%s.%s: unknown field" % (path, key))
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                self.walk(schema["items"], item, "%s[%d]" % (path, i), out)


LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def rules(kind, obj):
    """What the API conventions ask beyond the schema."""
    out, meta = [], obj.get("metadata", {})
    if not LABEL.fullmatch(meta.get("name", "")):
        out.append("metadata.name: %r is no DNS label" % meta.get("name"))
    for key, value in (meta.get("labels") or {}).items():
        if not LABEL_VALUE.fullmatch(value) or not LABEL_KEY.fullmatch(key):
            out.append("metadata.labels: %r: %r" % (key, value))
    for key in meta.get("annotations") or {}:
        if not LABEL_KEY.fullmatch(key):
            out.append("metadata.annotations: %r" % key)
    if kind == "secrets":
        for key in list(obj.get("stringData") or {}) + list(obj.get("data") or {}):
            if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
                out.append("data: %r is no key" % key)
    if kind == "jobs":
        spec = obj["spec"]
        pod = spec["template"]["spec"]
        if pod.get("restartPolicy") not in ("Never", "OnFailure"):
            out.append("spec.template.spec.restartPolicy: Required value")
        if spec.get("completionMode") == "Indexed" and not spec.get("completions"):
            out.append("spec.completions: Required value: when completion mode is Indexed")
        if spec.get("completionMode") == "Indexed" and \
                len("%s-%d" % (meta["name"], spec["completions"] - 1)) > 63:
            out.append("metadata.name: too long for the pods' hostnames")
        if spec.get("podFailurePolicy") and pod.get("restartPolicy") != "Never":
            out.append("spec.podFailurePolicy: only supported for restartPolicy=Never")
        volumes = {v["name"] for v in pod.get("volumes", [])}
        for container in pod["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    out.append("volumeMounts: %s: Not found" % mount["name"])
            for name in container.get("resources", {}).get("limits", {}):
                if "/" in name and container["resources"].get("requests", {}).get(name) != \
                        container["resources"]["limits"][name]:
                    out.append("resources: %s: limit and request must be the same" % name)
            seen = set()
            for env in container.get("env", []):
                if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", env["name"]):
                    out.append("env: %r is no name" % env["name"])
                seen.add(env["name"])
    return out


# ---- the store ----

class Gone(Exception):
    pass


class Store:
    def __init__(self):
        self.lock = threading.Condition(threading.RLock())
        self.version = 100
        self.objects = {kind: {} for kind in KINDS}
        self.log = []  # (version, kind, type, object): what watches read
        self.oldest = 100  # watches from before it are 410
        self.counter = 0

    def uid(self):
        self.counter += 1
        return "%08x-0000-4000-8000-%012x" % (os.getpid(), self.counter)

    def write(self, kind, key, obj, what):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if what == "DELETED":
            self.objects[kind].pop(key, None)
        else:
            self.objects[kind][key] = obj
        self.log.append((self.version, kind, what, copy.deepcopy(obj)))
        if len(self.log) > 20000:
            self.oldest = self.log[10000][0]
            del self.log[:10000]
        self.lock.notify_all()

    def add(self, kind, namespace, obj):
        api, name, _ = KINDS[kind]
        obj.setdefault("apiVersion", api)
        obj.setdefault("kind", name)
        meta = obj["metadata"]
        key = (namespace, meta["name"])
        if key in self.objects[kind]:
            raise KeyError(key)
        meta["uid"] = self.uid()
        meta["creationTimestamp"] = now()
        if namespace:
            meta["namespace"] = namespace
        self.write(kind, key, obj, "ADDED")
        return obj

    def touch(self, kind, obj):
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if key in self.objects[kind]:
            self.write(kind, key, obj, "MODIFIED")

    def remove(self, kind, obj):
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if self.objects[kind].get(key, {}).get("metadata", {}).get("uid") == meta["uid"]:
            self.write(kind, key, obj, "DELETED")


# ---- controllers ----

def pod_requests(pod):
    out = {}
    for container in pod["spec"]["containers"]:
        for name, value in container.get("resources", {}).get("requests", {}).items():
            out[name] = out.get(name, 0) + quantity(value)
    return out


def is_over(pod):
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def condition(obj, kind, status, reason="", message=""):
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [c for c in conditions if c["type"] != kind]
    conditions.append({"type": kind, "status": status, "reason": reason, "message": message,
                       "lastTransitionTime": now()})


class Cluster(threading.Thread):
    """Job controller, scheduler and garbage collector, one turn after the other."""

    def __init__(self, store, folder):
        super().__init__(daemon=True)
        self.store, self.kubelet, self.ended = store, Kubelet(store, folder), False
        self.quota = ""  # why no pods are made
        self.paused = False  # no controller works: what was made stays as it is

    def run(self):
        while not self.ended:
            with self.store.lock:
                if not self.paused:
                    self.turn()
                self.store.lock.wait(0.05)

    def turn(self):
        for job in list(self.store.objects["jobs"].values()):
            self.job(job)
        for pod in list(self.store.objects["pods"].values()):
            self.schedule(pod)
            self.kubelet.look(pod)
        for kind in ("secrets", "services", "podgroups", "pods"):
            for obj in list(self.store.objects[kind].values()):
                self.collect(kind, obj)

    def pods_of(self, job):
        uid = job["metadata"]["uid"]
        return [p for p in self.store.objects["pods"].values()
                if any(o["uid"] == uid for o in p["metadata"].get("ownerReferences", []))]

    def collect(self, kind, obj):
        """Owners that are gone take what they own with them."""
        owners = obj["metadata"].get("ownerReferences", [])
        alive = {j["metadata"]["uid"] for j in self.store.objects["jobs"].values()}
        if not owners or any(o["uid"] in alive for o in owners):
            return
        if kind != "pods":
            self.store.remove(kind, obj)
        elif "deletionTimestamp" not in obj["metadata"]:
            self.kubelet.delete(obj, None)

    def job(self, job):
        meta, spec, status = job["metadata"], job["spec"], job.setdefault("status", {})
        pods = self.pods_of(job)
        if "deletionTimestamp" in meta:
            for pod in pods:
                if "deletionTimestamp" not in pod["metadata"]:
                    self.kubelet.delete(pod, None)
            if not pods:
                self.store.remove("jobs", job)
            return
        over = any(c["type"] in ("Complete", "Failed") and c["status"] == "True"
                   for c in status.get("conditions", []))
        if over:
            ttl = spec.get("ttlSecondsAfterFinished")
            done = [c for c in status["conditions"] if c["type"] in ("Complete", "Failed")]
            if ttl is not None and seconds_since(done[0]["lastTransitionTime"]) > ttl:
                meta["deletionTimestamp"] = now()
                self.store.touch("jobs", job)
            return
        before = json.dumps(job)
        if spec.get("suspend"):
            for pod in pods:
                if not is_over(pod) and "deletionTimestamp" not in pod["metadata"]:
                    self.kubelet.delete(pod, None)
            status.pop("startTime", None)
            condition_now = [c for c in status.get("conditions", []) if c["type"] == "Suspended"]
            if not condition_now or condition_now[0]["status"] != "True":
                condition(job, "Suspended", "True", "JobSuspended", "Job suspended")
        else:
            status.setdefault("startTime", now())
            self.count(job, pods)
        if json.dumps(job) != before:
            self.store.touch("jobs", job)

    def count(self, job, pods):
        spec, status = job["spec"], job["status"]
        succeeded = {p["metadata"]["annotations"][INDEX] for p in pods
                     if p["status"].get("phase") == "Succeeded"}
        failed = [p for p in pods if p["status"].get("phase") == "Failed" or
                  ("deletionTimestamp" in p["metadata"] and
                   p["status"].get("phase") != "Succeeded")]
        active = [p for p in pods if not is_over(p) and "deletionTimestamp" not in p["metadata"]]
        status["active"] = len(active)
        status["succeeded"] = len(succeeded)
        status["failed"] = max(status.get("failed", 0), len(failed))
        if status["failed"] > spec.get("backoffLimit", 6):
            for pod in active:
                self.kubelet.delete(pod, None)
            if any(not is_over(p) for p in pods):
                condition(job, "FailureTarget", "True", "PodFailurePolicy")
                return
            condition(job, "Failed", "True", "PodFailurePolicy",
                      "Container main for pod failed with exit code matching FailJob rule at index 1")
            status["active"] = 0
            return
        if len(succeeded) == spec["completions"]:
            condition(job, "Complete", "True")
            status["completionTime"] = now()
            return
        there = {p["metadata"]["annotations"][INDEX] for p in pods if p not in failed}
        for index in range(spec["completions"]):
            if str(index) not in there and len(active) < spec["parallelism"]:
                if self.quota:
                    self.event(job, "FailedCreate", 'Error creating: pods "%s-%d" is forbidden: %s' % (
                        job["metadata"]["name"], index, self.quota))
                    break
                active.append(self.make_pod(job, index))
        status["active"] = len(active)

    def event(self, obj, reason, message):
        """A warning, told again as the same event with a higher count."""
        meta = obj["metadata"]
        name = "%s.%s" % (meta["name"], reason.lower())
        old = self.store.objects["events"].get((meta["namespace"], name))
        if old:
            if time.monotonic() > old["_again"]:
                old["_again"] = time.monotonic() + 5
                old["count"] += 1
                self.store.touch("events", old)
            return
        self.store.add("events", meta["namespace"], {
            "metadata": {"name": name}, "type": "Warning", "reason": reason, "message": message,
            "count": 1, "_again": time.monotonic() + 5,
            "involvedObject": {"kind": obj["kind"], "namespace": meta["namespace"],
                               "name": meta["name"], "uid": meta["uid"]}})

    def make_pod(self, job, index):
        name, template = job["metadata"]["name"], copy.deepcopy(job["spec"]["template"])
        meta = template.setdefault("metadata", {})
        self.store.counter += 1
        meta["name"] = "%s-%d-%05x" % (name, index, self.store.counter)
        meta.setdefault("annotations", {})[INDEX] = str(index)
        meta.setdefault("labels", {}).update(
            {"job-name": name, "batch.kubernetes.io/job-name": name,
             "controller-uid": job["metadata"]["uid"]})
        meta["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": name,
                                    "uid": job["metadata"]["uid"], "controller": True,
                                    "blockOwnerDeletion": True}]
        template["spec"]["hostname"] = "%s-%d" % (name, index)
        return self.store.add("pods", job["metadata"]["namespace"],
                              {"metadata": meta, "spec": template["spec"],
                               "status": {"phase": "Pending"}})

    # ---- scheduling ----

    def schedule(self, pod):
        if pod["spec"].get("nodeName") or is_over(pod) or "deletionTimestamp" in pod["metadata"]:
            return
        reasons, nodes = {}, self.store.objects["nodes"].values()
        for node in sorted(nodes, key=lambda n: n["metadata"]["name"]):
            why = self.unfit(pod, node)
            if not why:
                pod["spec"]["nodeName"] = node["metadata"]["name"]
                condition(pod, "PodScheduled", "True")
                self.store.touch("pods", pod)
                return
            reasons[why] = reasons.get(why, 0) + 1
        message = "0/%d nodes are available: %s." % (
            len(nodes), ", ".join("%d %s" % (n, w) for w, n in sorted(reasons.items())))
        old = [c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        if not old or old[0]["message"] != message:
            condition(pod, "PodScheduled", "False", "Unschedulable", message)
            self.store.touch("pods", pod)

    def unfit(self, pod, node):
        spec, name = pod["spec"], node["metadata"]["name"]
        if node["spec"].get("unschedulable"):
            return "node(s) were unschedulable"
        if not any(c["type"] == "Ready" and c["status"] == "True"
                   for c in node["status"]["conditions"]):
            return "node(s) were not ready"
        for taint in node["spec"].get("taints", []):
            if taint["effect"] != "PreferNoSchedule" and not any(
                    (t.get("key", taint["key"]) == taint["key"]) and
                    (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
                    for t in spec.get("tolerations", [])):
                return "node(s) had untolerated taint {%s: %s}" % (taint["key"], taint.get("value", ""))
        for key, value in (spec.get("nodeSelector") or {}).items():
            if node["metadata"].get("labels", {}).get(key) != value:
                return "node(s) didn't match Pod's node affinity/selector"
        affinity = spec.get("affinity", {}).get("nodeAffinity", {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution")
        if affinity and not any(
                all(f["key"] == "metadata.name" and name in f["values"]
                    for f in term.get("matchFields", []))
                for term in affinity["nodeSelectorTerms"]):
            return "node(s) didn't match Pod's node affinity/selector"
        free = {k: quantity(v) for k, v in node["status"]["allocatable"].items()}
        mine = 0
        for other in self.store.objects["pods"].values():
            if other["spec"].get("nodeName") == name and not is_over(other):
                for key, value in pod_requests(other).items():
                    free[key] = free.get(key, 0) - value
                mine += other["metadata"].get("labels", {}).get("job-name") == \
                    pod["metadata"].get("labels", {}).get("job-name")
        for key, value in pod_requests(pod).items():
            if value > free.get(key, 0):
                return "Insufficient %s" % key
        spread = spec.get("topologySpreadConstraints")
        if spread and affinity:
            counts = {}
            for term in affinity["nodeSelectorTerms"]:
                counts[term["matchFields"][0]["values"][0]] = 0
            for other in self.store.objects["pods"].values():
                if other["metadata"].get("labels", {}).get("job-name") == \
                        pod["metadata"]["labels"]["job-name"] and \
                        other["spec"].get("nodeName") in counts:
                    counts[other["spec"]["nodeName"]] += 1
            if mine + 1 - min(counts.values()) > spread[0]["maxSkew"]:
                return "node(s) didn't match pod topology spread constraints"
        return None


# ---- the kubelet ----

def expand(text, env):
    """Kubernetes' own $(NAME) and $$."""
    out, i = "", 0
    while i < len(text):
        if text[i] == "$" and i + 1 < len(text):
            if text[i + 1] == "$":
                out += "$"
                i += 2
                continue
            end = text.find(")", i)
            if text[i + 1] == "(" and end > 0 and text[i + 2:end] in env:
                out += env[text[i + 2:end]]
                i = end + 1
                continue
        out += text[i]
        i += 1
    return out


class Kubelet:
    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        self.running = {}  # uid -> Popen
        self.killed = {}  # uid -> why
        self.log_done = {}  # uid -> all of its output is in the log

    def place(self, pod):
        return os.path.join(self.folder, "pods", pod["metadata"]["uid"])

    def look(self, pod):
        uid, status = pod["metadata"]["uid"], pod["status"]
        if uid in self.running:
            self.check(pod)
            return
        if "deletionTimestamp" in pod["metadata"]:
            self.store.remove("pods", pod)
            return
        if is_over(pod) or not pod["spec"].get("nodeName") or status.get("phase") == "Running":
            return
        container = pod["spec"]["containers"][0]
        image = container["image"]
        if image.startswith("missing/"):
            old = status.get("containerStatuses")
            reason = "ImagePullBackOff" if old else "ErrImagePull"
            if not old or old[0]["state"]["waiting"]["reason"] != reason:
                message = ('Back-off pulling image "%s"' if old else
                           'failed to pull and unpack image "%s": not found') % image
                self.state(pod, {"waiting": {"reason": reason, "message": message}})
            return
        self.start(pod, container)

    def state(self, pod, state):
        container = pod["spec"]["containers"][0]
        pod["status"]["containerStatuses"] = [
            {"name": container["name"], "image": container["image"], "imageID": "",
             "ready": "running" in state, "restartCount": 0, "state": state}]
        self.store.touch("pods", pod)

    def environment(self, pod, container):
        env = {}
        for entry in container.get("env", []):
            value = entry.get("value", "")
            source = entry.get("valueFrom", {})
            if "fieldRef" in source:
                m = re.fullmatch(r"metadata\.annotations\['(.*)'\]", source["fieldRef"]["fieldPath"])
                value = pod["metadata"]["annotations"][m.group(1)]
            elif "secretKeyRef" in source:
                ref = source["secretKeyRef"]
                secret = self.store.objects["secrets"].get(
                    (pod["metadata"]["namespace"], ref["name"]))
                if not secret or ref["key"] not in secret.get("data", {}):
                    return None, 'secret "%s" not found' % ref["name"]
                value = base64.b64decode(secret["data"][ref["key"]]).decode()
            else:
                value = expand(value, env)
            env[entry["name"]] = value
        return env, None

    def mount(self, pod, container):
        """Folders for what is mounted: mount path -> folder."""
        volumes, out = {v["name"]: v for v in pod["spec"].get("volumes", [])}, {}
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if "persistentVolumeClaim" in volume:
                continue  # the folder itself, at the same path
            path = os.path.join(self.place(pod), mount["name"])
            os.makedirs(path, exist_ok=True)
            if "secret" in volume:
                secret = self.store.objects["secrets"].get(
                    (pod["metadata"]["namespace"], volume["secret"]["secretName"]))
                if not secret:
                    return None
                for key, value in secret.get("data", {}).items():
                    with open(os.path.join(path, key), "wb") as f:
                        f.write(base64.b64decode(value))
                    os.chmod(os.path.join(path, key), volume["secret"].get("defaultMode", 0o644))
            out[mount["mountPath"]] = path
        return out

    def start(self, pod, container):
        env, trouble = self.environment(pod, container)
        mounts = self.mount(pod, container) if env is not None else None
        if env is None or mounts is None:
            old = pod["status"].get("containerStatuses")
            if not old:
                self.state(pod, {"waiting": {"reason": "CreateContainerConfigError",
                                             "message": trouble or "secret not found"}})
            return

        def local(text):
            for path, folder in sorted(mounts.items(), reverse=True):
                if text == path or text.startswith(path + "/"):
                    return folder + text[len(path):]
            return text
        os.makedirs(self.place(pod), exist_ok=True)
        words = [local(expand(w, env)) for w in container.get("command", []) + container.get("args", [])]
        full = {"PATH": os.environ["PATH"], "HOSTNAME": pod["spec"]["hostname"]}
        full.update({k: local(v) for k, v in env.items()})
        full.setdefault("HOME", "/tmp")
        cwd = local(container.get("workingDir", "/"))
        log = os.path.join(self.place(pod), "log")
        open(log, "ab").close()
        pod["status"]["startTime"] = now()
        try:
            process = subprocess.Popen(words, cwd=cwd, env=full, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       start_new_session=True)
        except OSError as e:
            pod["status"]["phase"] = "Failed"
            self.state(pod, {"terminated": {
                "exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z",
                "finishedAt": now(),
                "message": "failed to create containerd task: exec: \"%s\": %s" % (words[0], e.strerror)}})
            return
        uid = pod["metadata"]["uid"]
        self.running[uid] = process
        done = self.log_done[uid] = threading.Event()
        threading.Thread(target=self.keep_log, args=(process, log, done), daemon=True).start()
        with open(os.path.join(self.folder, "starts"), "a") as f:
            f.write(pod["metadata"]["labels"].get("job-name", "") + " " + str(process.pid) + "\n")
        pod["status"]["phase"] = "Running"
        self.state(pod, {"running": {"startedAt": now()}})

    @staticmethod
    def keep_log(process, path, done):
        with open(path, "ab", buffering=0) as f:
            for line in process.stdout:
                f.write(now(True).encode() + b" " + line)
        done.set()

    def resident(self, process):
        """Bytes of the process's group."""
        total = 0
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % name) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                if int(fields[2]) == process.pid:
                    total += int(fields[21]) * 4096
            except (OSError, IndexError):
                continue
        return total

    def signal(self, process, number):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass

    def check(self, pod):
        uid = pod["metadata"]["uid"]
        process, spec = self.running[uid], pod["spec"]
        container = spec["containers"][0]
        code = process.poll()
        if code is None:
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            if limit and self.resident(process) > quantity(limit):
                self.killed[uid] = "OOMKilled"
                self.signal(process, signal.SIGKILL)
            deadline = spec.get("activeDeadlineSeconds")
            if deadline and seconds_since(pod["status"]["startTime"]) > deadline:
                pod["status"]["reason"] = "DeadlineExceeded"
                self.signal(process, signal.SIGKILL)
            at = pod.get("_kill_at")
            if at and time.monotonic() > at:
                self.signal(process, signal.SIGKILL)
            return
        if not self.log_done[uid].wait(0.01):
            self.signal(process, signal.SIGKILL)  # the container's other processes hold its pipe
            return
        self.signal(process, signal.SIGKILL)
        del self.running[uid]
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        exit_code = code if code >= 0 else 128 - code
        pod["status"]["phase"] = "Succeeded" if exit_code == 0 else "Failed"
        self.state(pod, {"terminated": {
            "exitCode": exit_code, "startedAt": started, "finishedAt": now(),
            "reason": self.killed.pop(uid, None) or ("Completed" if exit_code == 0 else "Error")}})
        if "deletionTimestamp" in pod["metadata"]:
            self.store.remove("pods", pod)

    def delete(self, pod, grace):
        if grace is None:
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        pod["metadata"].setdefault("deletionTimestamp", now())
        pod["metadata"]["deletionGracePeriodSeconds"] = grace
        process = self.running.get(pod["metadata"]["uid"])
        if process:
            at = time.monotonic() + grace
            if not pod.get("_kill_at") or at < pod["_kill_at"]:
                pod["_kill_at"] = at
            self.signal(process, signal.SIGTERM)
        self.store.touch("pods", pod)

    def close(self):
        for process in list(self.running.values()):
            self.signal(process, signal.SIGKILL)


# ---- requests ----

class Control:
    """{"node": NAME, "cordon": bool} | {"node": NAME, "ready": bool} | {"add_node": NAME, ...}
    {"foreign": {"node": NAME, "cpu": "2", "devices": 1}}   a pod of somebody else's
    {"fault": {"match": REGEX, "status": N, "retry_after": S, "count": N}}   answered so instead
    {"fault": {"match": REGEX, "reset": "before"|"after", "count": N}}   the connection is cut
    {"fault": {"match": REGEX, "delay": S, "count": N}}
    {"away": S}      nobody answers for so long; what runs goes on
    {"compact": true}   watches are ended, and older places in them are 410
    {"pause": bool}  the controllers stand still
    {"quota": TEXT}  no pods are made, for that reason, and an event says so; "" = again
    {"requests": true}   answers what was asked so far, by method and kind
    {"delete_job": NAME} | {"delete_pod": NAME}   as kubectl would"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fake"

    def log_message(self, *args):
        pass

    @property
    def app(self):
        return self.server.app

    def status(self, code, reason, message, headers=()):
        self.send(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                         "message": message, "reason": reason, "code": code}, headers)

    def send(self, code, obj, headers=(), raw=None):
        data = raw if raw is not None else json.dumps(strip(obj)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if raw is not None else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def cut(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def faulty(self):
        """True: the request is over."""
        line = "%s %s" % (self.command, self.path)
        for fault in list(self.app.faults):
            if not re.search(fault["match"], line) or fault.get("count", 1) <= 0:
                continue
            fault["count"] = fault.get("count", 1) - 1
            if "delay" in fault:
                time.sleep(fault["delay"])
                return False
            if fault.get("reset") == "before":
                self.cut()
                return True
            if fault.get("reset") == "after":
                self.after_cut = True
                return False
            headers = [("Retry-After", str(fault["retry_after"]))] if "retry_after" in fault else []
            self.status(fault["status"], fault.get("reason", "InternalError"),
                        fault.get("message", "injected"), headers)
            return True
        return False

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        parts = [unquote(p) for p in url.path.strip("/").split("/")]
        self.after_cut = False
        if parts == ["control"]:
            self.send(200, self.app.control(json.loads(body)))
            return
        if self.app.away_until > time.monotonic():
            self.cut()
            return
        if self.app.token and self.headers.get("Authorization") != "Bearer " + self.app.token:
            self.status(401, "Unauthorized", "Unauthorized")
            return
        if self.faulty():
            return
        try:
            self.route(parts, query, json.loads(body) if body else None)
        except (KeyError, ValueError, TypeError) as e:
            self.status(400, "BadRequest", "%s: %s" % (type(e).__name__, e))

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_any

    def answer(self, code, obj):
        if self.after_cut:
            self.cut()
            return
        self.send(code, obj)

    def route(self, parts, query, body):
        if parts[0] == "version":
            self.send(200, {"major": "1", "minor": "25", "gitVersion": "v1.25.0-fake"})
            return
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if rest and rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = rest[0] if rest else ""
        api = "/".join(parts[1:3]) if parts[0] == "apis" else parts[1] if len(parts) > 1 else ""
        if kind not in KINDS or KINDS[kind][0] != api:
            self.status(404, "NotFound", "the server could not find the requested resource")
            return
        self.app.count(self.command + " " + kind + (" watch" if query.get("watch") else ""))
        if len(rest) == 3 and rest[2] == "log" and kind == "pods":
            self.log(namespace, rest[1], query)
        elif self.command == "POST":
            self.create(kind, namespace, body)
        elif self.command == "GET" and len(rest) > 1:
            self.get(kind, namespace, rest[1])
        elif self.command == "GET" and query.get("watch") in ("true", "1"):
            self.watch(kind, namespace, query)
        elif self.command == "GET":
            self.list(kind, namespace, query)
        elif self.command == "PATCH":
            self.patch(kind, namespace, rest[1], body)
        elif self.command == "DELETE":
            self.delete(kind, namespace, rest[1] if len(rest) > 1 else None, query, body or {})

    # ---- reading ----

    @staticmethod
    def selects(query, namespace, obj):
        meta = obj["metadata"]
        if namespace and meta.get("namespace") != namespace:
            return False
        for term in filter(None, (query.get("labelSelector") or "").split(",")):
            key, value = term.split("=", 1)
            if meta.get("labels", {}).get(key) != value.lstrip("="):
                return False
        for term in filter(None, (query.get("fieldSelector") or "").split(",")):
            unequal = "!=" in term
            key, value = term.split("!=" if unequal else "=", 1)
            at = obj
            for part in key.split("."):
                at = at.get(part, {}) if isinstance(at, dict) else {}
            if ((at or "") == value) == unequal:
                return False
        return True

    def list(self, kind, namespace, query):
        store, (api, name, _) = self.app.store, KINDS[kind]
        with store.lock:
            found = [o for k, o in sorted(store.objects[kind].items())
                     if self.selects(query, namespace, o)]
            # All pages are of the moment of the first, as the real one gives them.
            version, token, at = store.version, None, 0
            if query.get("continue"):
                token, at = query["continue"].split(".")[0], int(query["continue"].split(".")[1])
                version, found = self.app.lists.get(token, (version, found))
            limit = int(query.get("limit", 0)) or len(found) + 1
            limit = min(limit, self.app.page) if self.app.page else limit
            meta = {"resourceVersion": str(version)}
            if at + limit < len(found):
                if token is None:
                    token = str(len(self.app.lists) + 1)
                    self.app.lists[token] = (version, json.loads(json.dumps(found)))
                meta["continue"] = "%s.%d" % (token, at + limit)
                meta["remainingItemCount"] = len(found) - at - limit
            items = []
            for obj in found[at:at + limit]:  # without apiVersion and kind, as in real lists
                items.append({k: v for k, v in strip(obj).items() if k not in ("apiVersion", "kind")})
            data = {"kind": name + "List", "apiVersion": api, "metadata": meta, "items": items}
            data = json.loads(json.dumps(data))
        self.send(200, data)

    def get(self, kind, namespace, name):
        with self.app.store.lock:
            obj = self.app.store.objects[kind].get((namespace, name))
            obj = copy.deepcopy(obj)
        if obj is None:
            self.status(404, "NotFound", '%s "%s" not found' % (kind, name))
        else:
            self.send(200, obj)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def stream(self, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def watch(self, kind, namespace, query):
        store = self.app.store
        at = int(query.get("resourceVersion") or 0)
        until = time.monotonic() + min(float(query.get("timeoutSeconds", 60)), self.app.watch_s)
        epoch = self.app.watch_epoch
        if at < store.oldest:
            self.status(410, "Expired", "too old resource version: %d (%d)" % (at, store.oldest))
            return
        self.stream("application/json;stream=watch")
        bookmark_at = time.monotonic() + 1
        sent = set()
        with store.lock:
            for obj in store.objects[kind].values():
                if self.selects(query, namespace, obj):
                    sent.add(obj["metadata"]["uid"])
        try:
            while time.monotonic() < until and self.app.away_until <= time.monotonic() and \
                    not self.app.ended and epoch == self.app.watch_epoch:
                with store.lock:
                    if not any(e[0] > at for e in store.log[-1:]):
                        store.lock.wait(0.2)
                    news = [e for e in store.log if e[0] > at and e[1] == kind]
                    top = store.version
                for version, _, what, obj in news:
                    uid = obj["metadata"]["uid"]
                    if not self.selects(query, namespace, obj):
                        # What leaves the selection is told as deleted, once.
                        if uid not in sent or what == "ADDED":
                            continue
                        what = "DELETED"
                    sent.discard(uid) if what == "DELETED" else sent.add(uid)
                    self.chunk(json.dumps({"type": what, "object": strip(obj)}).encode() + b"\n")
                at = max(at, top)
                if query.get("allowWatchBookmarks") and time.monotonic() > bookmark_at:
                    bookmark_at = time.monotonic() + 5
                    self.chunk(json.dumps({"type": "BOOKMARK", "object": {
                        "kind": KINDS[kind][1], "apiVersion": KINDS[kind][0],
                        "metadata": {"resourceVersion": str(at), "creationTimestamp": None}}}
                    ).encode() + b"\n")
            if self.app.away_until > time.monotonic():
                self.cut()
                return
            if epoch != self.app.watch_epoch:  # compacted under it
                self.chunk(json.dumps({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "too old resource version", "reason": "Expired", "code": 410}}
                ).encode() + b"\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def log(self, namespace, name, query):
        store = self.app.store
        with store.lock:
            pod = store.objects["pods"].get((namespace, name))
        if not pod:
            self.status(404, "NotFound", 'pods "%s" not found' % name)
            return
        path = os.path.join(self.app.cluster.kubelet.place(pod), "log")
        if not os.path.exists(path):
            self.status(400, "BadRequest",
                        'container "main" in pod "%s" is waiting to start: ContainerCreating' % name)
            return
        self.stream("text/plain")
        uid, rest = pod["metadata"]["uid"], b""
        done = self.app.cluster.kubelet.log_done[uid]
        try:
            with open(path, "rb") as f:
                while not self.app.ended and self.app.away_until <= time.monotonic():
                    over = done.is_set() or query.get("follow") != "true"
                    rest += f.read(1 << 20)
                    whole, _, rest = rest.rpartition(b"\n")
                    lines = whole + b"\n" if whole else b""
                    if over and rest:
                        lines, rest = lines + rest, b""
                    out = b""
                    for line in lines.splitlines(True):
                        if line.split(b".")[0].decode() + "Z" < query.get("sinceTime", ""):
                            continue
                        out += line if query.get("timestamps") == "true" else line.split(b" ", 1)[1]
                    if out:
                        self.chunk(out)
                    elif over:
                        break
                    else:
                        time.sleep(0.03)
            if self.app.away_until > time.monotonic():
                self.cut()
                return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    # ---- changing ----

    def create(self, kind, namespace, obj):
        store, definition = self.app.store, KINDS[kind][2]
        wrong = self.app.schema.check(definition, obj) if definition else []
        wrong = wrong or rules(kind, obj)
        if obj.get("kind") != KINDS[kind][1] or obj.get("apiVersion") != KINDS[kind][0]:
            wrong.append("kind, apiVersion: not those of %s" % kind)
        if wrong:
            with open(os.path.join(self.app.folder, "invalid"), "a") as f:
                f.write("%s %s\n" % (kind, "; ".join(wrong)))
            self.status(422, "Invalid", '%s "%s" is invalid: %s' % (
                kind, obj.get("metadata", {}).get("name"), "; ".join(wrong)))
            return
        if kind == "secrets":
            data = obj.setdefault("data", {})
            for key, value in (obj.pop("stringData", None) or {}).items():
                data[key] = base64.b64encode(value.encode()).decode()
        with store.lock:
            try:
                made = copy.deepcopy(store.add(kind, namespace, obj))
            except KeyError:
                made = None
        if made is None:
            self.status(409, "AlreadyExists", '%s "%s" already exists' % (
                kind, obj["metadata"]["name"]))
        else:
            self.answer(201, made)

    def patch(self, kind, namespace, name, body):
        def merge(into, change):
            for key, value in change.items():
                if value is None:
                    into.pop(key, None)
                elif isinstance(value, dict):
                    merge(into.setdefault(key, {}), value)
                else:
                    into[key] = value
        if self.headers.get("Content-Type") != "application/merge-patch+json":
            self.status(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
            return
        with self.app.store.lock:
            obj = self.app.store.objects[kind].get((namespace, name))
            if obj:
                merge(obj, body)
                self.app.store.touch(kind, obj)
                obj = copy.deepcopy(obj)
        if obj:
            self.answer(200, obj)
        else:
            self.status(404, "NotFound", '%s "%s" not found' % (kind, name))

    def delete(self, kind, namespace, name, query, options):
        store, kubelet = self.app.store, self.app.cluster.kubelet
        wrong = self.app.schema.check(DELETE_OPTIONS, options)
        if wrong:
            self.status(400, "BadRequest", "; ".join(wrong))
            return
        with store.lock:
            found = [o for k, o in sorted(store.objects[kind].items())
                     if (k == (namespace, name) if name else self.selects(query, namespace, o))]
            for obj in found:
                if kind == "pods":
                    kubelet.delete(obj, options.get("gracePeriodSeconds"))
                elif kind == "jobs" and options.get("propagationPolicy") == "Foreground":
                    obj["metadata"]["finalizers"] = ["foregroundDeletion"]
                    obj["metadata"].setdefault("deletionTimestamp", now())
                    store.touch(kind, obj)
                else:
                    store.remove(kind, obj)  # its pods follow: Cluster.collect
        if name and not found:
            self.status(404, "NotFound", '%s.%s "%s" not found' % (
                kind, KINDS[kind][0].split("/")[0], name))
        else:
            self.answer(200, found[0] if name else {"kind": "Status", "apiVersion": "v1",
                                                    "metadata": {}, "status": "Success"})


def strip(obj):
    return {k: v for k, v in obj.items() if not k.startswith("_")} if isinstance(obj, dict) else obj


class App:
    def __init__(self, args):
        self.folder, self.token = args.dir, args.token
        self.store, self.schema = Store(), Schema(SCHEMA)
        self.cluster = Cluster(self.store, args.dir)
        self.faults, self.away_until, self.ended = [], 0, False
        self.page, self.watch_s, self.watch_epoch, self.requests = args.page, args.watch_s, 0, {}
        self.lists = {}  # token -> (version, objects) of lists that are read in pages
        for i in range(args.nodes):
            self.add_node("k%d" % (i + 1), {})

    def count(self, what):
        with self.store.lock:
            self.requests[what] = self.requests.get(what, 0) + 1

    def add_node(self, name, options):
        amounts = {"cpu": options.get("cpu", "8"), "memory": options.get("memory", "16Gi"),
                   "ephemeral-storage": "100Gi", "pods": "110"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64"}
        if options.get("devices", 4):
            amounts["nvidia.com/gpu"] = str(options.get("devices", 4))
            labels["nvidia.com/gpu.product"] = "NVIDIA-H100-80GB-HBM3"
            labels["nvidia.com/gpu.memory"] = "81559"
        node = {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {
            "allocatable": amounts, "capacity": dict(amounts),
            "nodeInfo": {"architecture": "amd64", "osImage": "Debian GNU/Linux 12 (bookworm)"}}}
        condition(node, "Ready", "True", "KubeletReady", "kubelet is posting ready status")
        with self.store.lock:
            self.store.add("nodes", "", node)

    def control(self, order):
        store = self.store
        with store.lock:
            if "node" in order:
                node = store.objects["nodes"][("", order["node"])]
                if "cordon" in order:
                    node["spec"]["unschedulable"] = order["cordon"]
                if "ready" in order:
                    condition(node, "Ready", "True" if order["ready"] else "Unknown",
                              "NodeStatusUnknown", "Kubelet stopped posting node status.")
                store.touch("nodes", node)
            if "add_node" in order:
                self.add_node(order["add_node"], order)
            if "foreign" in order:
                want = order["foreign"]
                amounts = {"cpu": want.get("cpu", "1")}
                if want.get("devices"):
                    amounts["nvidia.com/gpu"] = str(want["devices"])
                store.add("pods", "others", {
                    "metadata": {"name": want.get("name", "foreign"), "labels": {}},
                    "spec": {"nodeName": want["node"], "hostname": "foreign", "containers": [
                        {"name": "c", "image": "x", "command": ["sleep", "1000"],
                         "resources": {"requests": amounts, "limits": amounts}}]},
                    "status": {"phase": "Pending"}})
            if "fault" in order:
                self.faults.append(order["fault"])
            if "away" in order:
                self.away_until = time.monotonic() + order["away"]
                store.lock.notify_all()
            if "compact" in order:
                store.oldest = store.version + 1
                self.watch_epoch += 1
                store.version += 1
            if "quota" in order:
                self.cluster.quota = order["quota"]
            if "pause" in order:
                self.cluster.paused = order["pause"]
            for key, kind in (("delete_job", "jobs"), ("delete_pod", "pods")):
                for (_, name), obj in list(store.objects[kind].items()):
                    if key in order and order[key] in name:
                        if kind == "jobs":
                            store.remove(kind, obj)
                        else:
                            self.cluster.kubelet.delete(obj, None)
            return {"requests": dict(self.requests),
                    "jobs": sorted(n for _, n in store.objects["jobs"]),
                    "pods": sorted(n for _, n in store.objects["pods"]),
                    "secrets": sorted(n for _, n in store.objects["secrets"]),
                    "services": sorted(n for _, n in store.objects["services"])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--token")
    parser.add_argument("--page", type=int, default=0)
    parser.add_argument("--watch-s", type=float, default=120)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--client-ca")
    args = parser.parse_args()
    os.makedirs(args.dir, exist_ok=True)
    app = App(args)
    server = Server(("127.0.0.1", 0), Handler)
    server.app = app
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        if args.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(args.client_ca)
        server.socket = context.wrap_socket(server.socket, server_side=True)

    def stop(*_):
        app.ended = app.cluster.ended = True
        app.cluster.kubelet.close()
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    app.cluster.start()
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
