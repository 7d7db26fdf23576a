"""ops.py: the commands that are hurt. Each starts from the store that prepare() makes."""
import os
import subprocess

from world import TESTS, must


class Op:
    """ARGV after `hoy`. BEFORE: commands run first, unharmed, that make CONTAINERS. FOLLOW: till its last process ended. GONE: a status
    of the repeated command that means it was done already. UNDO: what frees the way for a repeated command that finds its own work in
    the way. EMPTY: no store is there yet."""

    def __init__(self, name, argv, before=(), follow=False, gone=None, undo=None, images=(), containers=(), empty=False):
        self.name, self.argv, self.before, self.follow, self.gone, self.undo = name, argv, before, follow, gone, undo
        self.empty = empty
        self.images, self.containers = images, containers  # names that it may change


def fixture(name):
    return subprocess.run([f"{TESTS}/fixtures/{name}"], check=True, capture_output=True, text=True).stdout.strip()


def tar(world, name, script):
    """A layer made by a shell script in an empty directory."""
    d = f"{world.dir}/tmp/{name}"
    os.mkdir(d)
    must(["sh", "-euc", script], env={**world.env, "D": d, "BUSYBOX": fixture("busybox") + "/rootfs.tar"})
    must(["tar", "-C", d, "--sort=name", "--numeric-owner", "--mtime=2024-01-01 00:00:00Z", "-cf", f"{world.dir}/{name}.tar", "."])
    must(["rm", "-rf", d])


def archive(world, name, layers):
    must([f"{TESTS}/fixtures/mkimage.py", "docker-archive", "--out", f"{world.dir}/{name}.docker", "--ref", f"localhost/{name}:1",
          "--config", '{"Cmd":["sh"],"Env":["PATH=/bin"]}', *(f"{world.dir}/{x}.tar" for x in layers)])


def prepare(world):
    """base (busybox), two (a layer on it), three (a layer on that), keep (other bytes, must survive all but prune), moved (the name
    that tag moves), one without a name, and in a registry pulled (two layers, one of which is base's)."""
    tar(world, "base", 'cd "$D"; tar -xf "$BUSYBOX" ./bin/busybox ./bin/sh ./bin/true ./bin/sleep; mkdir etc proc sys dev tmp run')
    tar(world, "top", 'cd "$D"; mkdir -p etc d/e; echo top >etc/top; ln etc/top d/e/top; ln -s top etc/link')
    tar(world, "other", 'cd "$D"; mkdir -p a/b c; echo one >a/b/one; echo two >c/two; mknod null c 1 3; chmod 600 c/two')
    tar(world, "more", 'cd "$D"; mkdir -p m; seq 1 2000 >m/numbers')
    archive(world, "base", ["base"])
    archive(world, "two", ["base", "top"])
    archive(world, "three", ["base", "top", "more"])
    archive(world, "multi", ["other", "more"])
    archive(world, "pulled", ["base", "other"])
    world.env["HOY_FAULTS_BUILDING"] = "1"
    for name in ("base", "two", "three", "pulled"):
        world.must_hoy("load", "-q", "-i", f"{world.dir}/{name}.docker")
    world.must_hoy("push", "-q", "--tls-verify=false", "pulled:1", f"{world.registry}/pulled:1")
    world.must_hoy("rmi", "pulled:1")
    world.must_hoy("import", "-q", "-c", "LABEL go=1", f"{world.dir}/more.tar", "nameless:1")
    world.must_hoy("untag", "nameless:1")
    world.must_hoy("import", "-q", f"{world.dir}/top.tar", "keep:1")
    world.must_hoy("tag", "keep:1", "moved:1")
    world.must_hoy("create", "--name", "keepc", *run_options(world), "base:1", "true")
    world.must_hoy("create", "--name", "c1", *run_options(world), "base:1", "true")
    world.must_hoy("run", "--name", "cw", *run_options(world), "base:1", "sh", "-c", "echo written >/etc/written; rm /bin/true")
    for status, out in world.podman_script("images", "ps -a"):
        if status:
            raise RuntimeError(out)
    world.settle()
    world.keep()


def run_options(world):
    return ["--network", "none", "--cgroup-parent", world.cgroups]


def operations(world):
    plain, d, pulled = run_options(world), world.dir, f"{world.registry}/pulled:1"
    bridge = ["--cgroup-parent", world.cgroups, "-p", "127.0.0.1:18080:80"]
    pruned = ["create", "--name", "p1", "--label", "go=1", *plain, "base:1", "true"]
    sleeper = (["run", "-d", "--name", "s1", *plain, "base:1", "sleep", "1000"],)
    return [
        Op("import", ["import", "-q", f"{d}/other.tar", "new:1"], images=["localhost/new:1"]),
        Op("load", ["load", "-q", "-i", f"{d}/multi.docker"], images=["localhost/multi:1"]),
        Op("pull", ["pull", "-q", "--tls-verify=false", pulled], images=[pulled]),
        Op("commit", ["commit", "-q", "cw", "new:1"], images=["localhost/new:1"]),
        Op("tag", ["tag", "base:1", "moved:1"], images=["localhost/moved:1"]),
        Op("rmi", ["rmi", "two:1"], gone=1, images=["localhost/two:1"]),
        Op("rmi-shared", ["rmi", "three:1"], gone=1, images=["localhost/three:1"]),
        Op("create", ["create", "--name", "n1", *plain, "base:1", "true"], undo=["rm", "n1"], containers=["n1"]),
        Op("start", ["start", "c1"], follow=True, containers=["c1"]),
        Op("rm", ["rm", "c1"], gone=1, containers=["c1"]),
        Op("run-rm", ["run", "--rm", "--name", "r1", *plain, "base:1", "true"], undo=["rm", "-f", "-t", "0", "r1"], containers=["r1"]),
        Op("run-d", ["run", "-d", "--name", "d1", *plain, "base:1", "true"], follow=True, undo=["rm", "-f", "-t", "0", "d1"],
           containers=["d1"]),
        Op("bridge-rm", ["run", "--rm", "--name", "b1", *bridge, "base:1", "true"], undo=["rm", "-f", "-t", "0", "b1"], containers=["b1"]),
        Op("bridge-d", ["run", "-d", "--name", "b2", *bridge, "base:1", "true"], follow=True, undo=["rm", "-f", "-t", "0", "b2"],
           containers=["b2"]),
        Op("run-d-rm", ["run", "-d", "--rm", "--name", "dr1", *plain, "base:1", "sleep", "1000"], undo=["rm", "-f", "-t", "0", "dr1"],
           containers=["dr1"]),
        Op("stop", ["stop", "-t", "0", "s1"], before=sleeper, containers=["s1"]),
        Op("exec", ["exec", "s1", "true"], before=sleeper, containers=["s1"]),
        Op("exec-d", ["exec", "-d", "s1", "true"], before=sleeper, containers=["s1"]),
        Op("update", ["update", "--restart", "always", "--pids-limit", "99", "s1"], before=sleeper, containers=["s1"]),
        Op("rm-f", ["rm", "-f", "-t", "0", "s1"], before=sleeper, containers=["s1"]),
        Op("prune", ["system", "prune", "-f", "--filter", "label=go"], before=(pruned,), containers=["p1"]),
        Op("prune-all", ["image", "prune", "-a", "-f"],
           images=[f"localhost/{n}:1" for n in ("two", "three", "keep", "moved", "new", "multi")] + [pulled]),
        Op("new", ["load", "-q", "-i", f"{d}/base.docker"], images=["localhost/base:1"], empty=True),
    ]
