"""world.py: a small store on file systems of its own, that is put back before each point, and what is wrong with it after."""
import fcntl
import json
import os
import re
import shutil
import struct
import subprocess
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("HOY_BUILD") or os.path.join(os.path.dirname(TESTS), "build/release")
BIN = os.environ.get("HOY_BIN") or os.path.join(BUILD, "stage/bin")
INJECT = os.path.join(BUILD, "tests/faults/inject")
AREA = os.environ.get("HOY_TEST_AREA") or "/var/tmp/hoy-tests"
HEX = re.compile(r"[0-9a-f]{64}")
TIMEOUT = 60


class Done:
    """How a command ended."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return f"{' '.join(self.argv)}: status {self.status}, stdout {self.out[-300:]!r}, stderr {self.err[-600:]!r}"


def run(argv, env=None, stdin=subprocess.DEVNULL):
    try:
        p = subprocess.run(argv, stdin=stdin, capture_output=True, text=True, errors="replace", env=env, timeout=TIMEOUT)
        return Done(argv, p.returncode, p.stdout, p.stderr)
    except subprocess.TimeoutExpired as e:
        return Done(argv, -1, str(e.stdout), f"it took longer than {TIMEOUT} seconds")


def must(argv, **how):
    d = run(argv, **how)
    if d.status:
        raise RuntimeError(str(d))
    return d


def load(path):
    try:
        with open(path) as f:
            text = f.read().strip("\0")  # a volatile one after a power cut: as good as empty
            return json.loads(text) or [] if text else []
    except FileNotFoundError:
        return []


class World:
    def __init__(self):
        os.makedirs(AREA, exist_ok=True)
        self.dir = subprocess.run(["mktemp", "-d", AREA + "/faults-XXXXXX"], check=True, capture_output=True, text=True).stdout.strip()
        os.chmod(self.dir, 0o755)
        self.graph, self.runfs, self.home = (self.dir + s for s in ("/graph", "/run", "/home"))
        self.template = self.dir + "/template"
        self.root, self.runroot = self.graph + "/root", self.runfs + "/run"
        self.cgroups = "/" + os.path.basename(self.dir)
        for d in (self.graph, self.runfs, self.home, self.dir + "/tmp", self.dir + "/networks"):
            os.mkdir(d)
        self.common = ["--root", self.root, "--runroot", self.runroot, "--storage-opt", "overlay.skip_mount_home=true",
                       "--network-config-dir", self.dir + "/networks", "--tmpdir", self.runroot + "/libpod"]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "CONTAINER", "STORAGE_", "REGISTRY_"))}
        # Not in our directory, and not with HOY_FAULTS in its environment: what has them is a container's and to be ended.
        self.registry = must([TESTS + "/fixtures/registry", "start", self.dir + "-registry"], env=self.env).out.strip()
        self.env.update(HOME=self.home, TMPDIR=self.dir + "/tmp", LC_ALL="C.UTF-8", HOY_FAULTS=self.dir + "/")
        self.write_network()
        self.mount(self.graph, None)

    def write_network(self):
        """The default network under an id of our own: what is left of it can be told from what others have beside us."""
        self.network_id = os.urandom(32).hex()
        with open(self.dir + "/networks/podman.json", "w") as f:
            json.dump({"name": "podman", "id": self.network_id, "driver": "bridge", "network_interface": "podman0",
                       "created": "2024-01-01T00:00:00Z", "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
                       "ipv6_enabled": False, "internal": False, "dns_enabled": False, "ipam_options": {"driver": "host-local"}}, f)

    # ---- commands

    def hoy_argv(self, *args):
        return [BIN + "/hoy", *self.common, *args]

    def hoy(self, *args):
        return run(self.hoy_argv(*args), env=self.env)

    def must_hoy(self, *args):
        return must(self.hoy_argv(*args), env=self.env)

    def podman_script(self, *commands):
        """One entry into the oracle for several podman commands: [(status, output)]."""
        podman = " ".join(["podman", "--storage-driver overlay", *self.common])
        script = "".join(f"{podman} {c} 2>&1; echo \"=== $?\"; " for c in commands)
        d = run([TESTS + "/oracle", "run", "--", "sh", "-c", script], env=self.env)
        found = re.findall(r"(.*?)=== (\d+)\n", d.out, re.S)
        if len(found) != len(commands):
            return [(125, str(d))]
        return [(int(status), out) for out, status in found]

    # ---- the store's place

    def mount(self, where, size):
        must(["mount", "-t", "tmpfs", "-o", "mode=755" + (f",size={size}" if size else ""), "faults", where])

    def keep(self):
        """What is there now is what reset() puts back."""
        must(["cp", "-a", self.graph, self.template])

    def umount(self, where):
        d = run(["umount", where])
        if d.status and "not mounted" not in d.err:
            run(["umount", "-l", where])
            return d.err
        return ""

    def reset(self, empty=False):
        self.drop_cgroups()
        for where in (self.runfs, self.graph):
            self.umount(where)
            self.mount(where, None)
        if not empty:
            must(["cp", "-a", self.template + "/.", self.graph])

    def close(self):
        self.end_all()
        run([TESTS + "/fixtures/registry", "stop", self.dir + "-registry"])
        shutil.rmtree(self.dir + "-registry")
        for where in (self.runfs, self.graph):
            self.umount(where)
        self.drop_cgroups()
        run(["rm", "-f", "/run/containers/networks/firewall/networks/" + self.network_id])
        shutil.rmtree(self.dir)

    # ---- what is left of processes, mounts and cgroups

    def processes(self):
        found = []
        mark, mount = self.dir.encode() + b"/", re.compile(rb"^\d+ \d+ [\d:]+ \S+ / .*" + re.escape(self.dir.encode()) + b"/", re.M)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", "rb") as f:
                    if f.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X") or int(pid) == os.getpid():
                        continue
                for name, what in (("environ", mark), ("cmdline", mark)):
                    with open(f"/proc/{pid}/{name}", "rb") as f:
                        if what in f.read():
                            found.append(int(pid))
                            break
                else:
                    with open(f"/proc/{pid}/mountinfo", "rb") as f:
                        if mount.search(f.read()):
                            found.append(int(pid))
            except (OSError, IndexError):
                pass
        return found

    def settle(self, seconds=5):
        """Until what the command left behind has ended, or clearly stays."""
        end, same, last = time.time() + seconds, 0, None
        while time.time() < end and same < 8:
            now = self.processes()
            if not now:
                return []
            same, last = (same + 1, now) if now == last else (0, now)
            time.sleep(0.04)
        return last

    def end_all(self):
        for _ in range(100):
            pids = self.processes()
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except OSError:
                    pass
            if not pids:
                break
            time.sleep(0.02)
        for where in sorted(self.mounts(), key=len, reverse=True):
            run(["umount", "-l", where])

    def mounts(self):
        with open("/proc/self/mountinfo") as f:
            all_of_them = [line.split()[4] for line in f]
        return [m for m in all_of_them if m.startswith(self.dir + "/") and m not in (self.graph, self.runfs)]

    def cgroup_dirs(self):
        for top, _, _ in os.walk("/sys/fs/cgroup"):
            if self.cgroups + "/" in top + "/":
                yield top

    def drop_cgroups(self):
        for d in sorted(self.cgroup_dirs(), key=len, reverse=True):
            try:
                os.rmdir(d)
            except OSError:
                pass

    # ---- what the records say

    def records(self, part):
        base = f"{self.root}/overlay-{part}/"
        return load(f"{base}{part}.json") + load(f"{base}volatile-{part}.json")

    def image_names(self):
        return {n: i.get("layer") for i in self.records("images") for n in i.get("names") or []}

    def container_names(self):
        return {n: c["id"] for c in self.records("containers") for n in c.get("names") or []}

    # ---- leaks

    def leaks(self):
        """Everything in the store, its run directory and the kernel that no record and no running container explains."""
        out = []
        layers = {l["id"]: l for l in self.records("layers")}
        images = {i["id"]: i for i in self.records("images")}
        ctrs = {c["id"]: c for c in self.records("containers")}
        out += self.layer_leaks(layers, images, ctrs)
        out += self.image_leaks(images)
        out += self.container_leaks(ctrs, layers)
        out += [f"mount {m}" for m in self.mounts() if not self.running(m, ctrs)]
        counts = load(self.runroot + "/overlay-layers/mountpoints.json")
        out += [f"mount count of {m['id'][:12]}" for m in counts if m["path"] not in self.mounts()]
        for d in self.cgroup_dirs():
            name = HEX.search(os.path.basename(d))
            if name and name[0] not in ctrs:
                out.append(f"cgroup {d}")
        out += self.network_leaks()
        out += [f"part of a blob: {n}" for n in self.ls(self.root + "/hoy/blobs")]
        # That of a container's state is the next writer's of that state.
        out += [f"temporary file {p}" for p in self.walk(self.root) if os.path.basename(p).startswith(".tmp-")
                and not (p.endswith("/.tmp-state") and os.path.basename(os.path.dirname(p)) in ctrs)]
        out += [f"temporary file {p}" for p in self.walk(self.runroot) if os.path.basename(p).startswith(".tmp-")]
        return out

    def network_leaks(self):
        """No container of ours is on the bridge any more; the bridge and the network's chains stay until `network rm`."""
        # The kernel takes them down with the container's namespace, when it gets to it.
        for _ in range(100):
            out = [f"interface {n}" for n in re.findall(r"^\d+: (veth[^:@]+)", run(["ip", "-o", "link"]).out, re.M)]
            if not out:
                break
            time.sleep(0.05)
        out += [f"rule of a port: {line.strip()}" for line in run(["nft", "list", "ruleset"]).out.splitlines() if "18080" in line]
        top = "/run/containers/networks"
        out += [f"firewall state {n}" for n in self.ls(f"{top}/firewall/ports") if n.startswith(self.network_id)]
        out += [f"temporary file {d}/{n}" for d in ("networks", "ports") for n in self.ls(f"{top}/firewall/{d}") if n.startswith(".tmp-")]
        leases = top + "/hoy/podman"
        out += [f"address {n}" for n in self.ls(leases) if os.path.islink(f"{leases}/{n}") and os.readlink(f"{leases}/{n}").startswith(self.dir + "/")]
        if out:  # not a second time, at the next point
            run(["nft", "flush", "ruleset"])
            run(["sh", "-c", f"rm -f {top}/firewall/ports/{self.network_id}*; find {leases} -lname '{self.dir}/*' -delete"])
        return out

    @staticmethod
    def walk(top):
        for d, dirs, files in os.walk(top):
            if os.path.basename(d) in ("diff", "merged"):
                dirs.clear()
                continue
            yield from (os.path.join(d, f) for f in files)

    def running(self, path, ctrs):
        return any(c["layer"] in path or c["id"] in path for c in ctrs.values())

    @staticmethod
    def ls(path):
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def layer_leaks(self, layers, images, ctrs):
        home, meta, out = self.root + "/overlay", self.root + "/overlay-layers", []
        dirs = [d for d in self.ls(home) if d not in ("l", "staging", "tempdirs") and os.path.isdir(f"{home}/{d}")]
        out += [f"layer directory without record: {d}" for d in dirs if d not in layers]
        out += [f"layer record without directory: {i}" for i in layers if i not in dirs]
        out += [f"incomplete layer: {i}" for i, l in layers.items() if l.get("flags", {}).get("incomplete")]
        links = {}
        for d in dirs:
            try:
                with open(f"{home}/{d}/link") as f:
                    links[f.read()] = d
            except FileNotFoundError:
                out.append(f"layer without link: {d}")
        for name in self.ls(home + "/l"):
            if os.readlink(f"{home}/l/{name}") != f"../{links.get(name)}/diff":
                out.append(f"link without layer: {name}")
        out += [f"layer {d} without its link {n}" for n, d in links.items() if n not in self.ls(home + "/l")]
        for name in self.ls(meta):
            found = HEX.match(name)
            if found and found[0] not in layers:
                out.append(f"layer file without record: {name}")
        used = {l.get("parent") for l in layers.values()} | {c["layer"] for c in ctrs.values()}
        used |= {x for i in images.values() for x in [i.get("layer"), *(i.get("mapped-layers") or [])]}
        out += [f"layer that nobody uses: {i}" for i in layers if i not in used]
        for where in (home + "/tempdirs", meta + "/tmp"):
            out += [f"temporary directory of a dead owner: {where}/{n}" for n in self.ls(where) if not self.locked(where, n)]
        return out

    @staticmethod
    def locked(where, name):
        number = name.rsplit("-", 1)[1]
        try:
            with open(f"{where}/lock-{number}", "r+b") as f:
                got = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
                return struct.unpack("hhqqi4x", got)[0] != fcntl.F_UNLCK
        except FileNotFoundError:
            return False

    def image_leaks(self, images):
        top, out = self.root + "/overlay-images", []
        for name in self.ls(top):
            if HEX.fullmatch(name) and name not in images:
                out.append(f"image directory without record: {name}")
        for i in images.values():
            if len(i.get("big-data-names") or []) != len(self.ls(f"{top}/{i['id']}")):
                out.append(f"image {i['id'][:12]} has {self.ls(top + '/' + i['id'])}, not {i.get('big-data-names')}")
        return out

    def container_leaks(self, ctrs, layers):
        out = []
        for top in (self.root + "/overlay-containers", self.runroot + "/overlay-containers"):
            out += [f"container directory without record: {top}/{n}" for n in self.ls(top) if HEX.fullmatch(n) and n not in ctrs]
        out += [f"container {c['id'][:12]} without its layer" for c in ctrs.values() if c["layer"] not in layers]
        ours = self.ls(self.root + "/hoy/containers")
        out += [f"definition without record: {n}" for n in ours if n not in ctrs]
        for n in self.ls(self.runroot + "/hoy"):
            if n.split(".")[0] not in ctrs and n != "runtime":
                out.append(f"run directory without record: {n}")
        out += [f"runtime state without record: {n}" for n in self.ls(self.runroot + "/hoy/runtime") if HEX.fullmatch(n) and n not in ctrs]
        for i in ours:
            if i in ctrs and not os.path.exists(f"{self.root}/hoy/containers/{i}/state"):
                out.append(f"definition without state: {i}")
        return out
