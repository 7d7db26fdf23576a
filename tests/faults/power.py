"""power.py: power cuts. All operations run once on a disk that writes down what reaches it (disk.c); then, for a moment of that
record, a disk is made that has everything up to the last flush, and of what was written after it nothing, a part or all."""
import os
import random
import re
import shutil
import struct
import subprocess
import time

from world import BUILD, must, run

SIZE = "192M"
RECORD = struct.Struct("=QII")
PARTS = ("nothing", "a part", "all")


class Disk:
    """The image on a recording disk, mounted at WHERE."""

    def __init__(self, image, log, node, where):
        open(node, "w").close()
        self.node, self.where = node, where
        self.server = subprocess.Popen([BUILD + "/tests/faults/disk", image, log, node], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        if self.server.stdout.readline() != "ready\n":
            raise RuntimeError("no disk")
        self.loop = must(["losetup", "--direct-io=on", "-f", "--show", node]).out.strip()
        must(["mount", "-t", "ext4", self.loop, where])

    def close(self):
        d = run(["umount", self.where])
        if d.status:
            run(["umount", "-l", self.where])
        must(["losetup", "-d", self.loop])
        for _ in range(100):
            if not run(["umount", self.node]).status:
                break
            time.sleep(0.05)
        else:
            self.server.kill()
        self.server.wait()
        if d.status:
            raise RuntimeError(str(d))


class Power:
    def __init__(self, world, ops, empty):
        self.world, self.empty = world, empty
        self.dir = must(["mktemp", "-d", "/dev/shm/faults-XXXXXX"]).out.strip()
        self.base, self.log, self.now, self.cut = (f"{self.dir}/{n}" for n in ("base", "log", "now", "cut"))
        self.steps = []  # (operation or None, log before, log when it was done, state before, state after)
        self.make_base()
        self.record(ops)
        self.read_log()
        self.at = None

    def make_base(self):
        w = self.world
        w.umount(w.graph)
        must(["truncate", "-s", SIZE, self.base])
        must(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.base])
        must(["mount", "-o", "loop", self.base, w.graph])
        if not self.empty:
            must(["cp", "-a", w.template + "/.", w.graph])
        must(["umount", w.graph])

    def state(self):
        return self.world.image_names(), set(self.world.container_names())

    def record(self, ops):
        w = self.world
        shutil.copyfile(self.base, self.now)
        w.umount(w.runfs)
        w.mount(w.runfs, None)
        disk = Disk(self.now, self.log, self.dir + "/node", w.graph)
        try:
            self.run_all(ops)
        finally:
            w.end_all()
            disk.close()

    def run_all(self, ops):
        w, state = self.world, self.state()
        for op in ops:
            before = [["rm", "-f", "-t", "0", n] for n in op.containers if op.before] + list(op.before)
            for argv, of in [(a, None) for a in before] + [(op.argv, op)]:
                begin = os.path.getsize(self.log)
                w.must_hoy(*argv)
                end = os.path.getsize(self.log)
                after = self.state()
                self.steps.append((of, begin, end, state, after))
                state = after
                if op.follow:
                    w.settle()

    def read_log(self):
        """Where each write and flush lies in the log, and for each flush how far it is into it."""
        self.writes, self.flushes, at = [], [0], 0
        with open(self.log, "rb") as f:
            while head := f.read(RECORD.size):
                offset, length, _ = RECORD.unpack(head)
                if length:
                    self.writes.append((at, offset, f.tell(), length))
                    f.seek(length, 1)
                at = f.tell()
                if not length:
                    self.flushes.append(at)

    def moments(self, op):
        """Moments of an operation: each flush within it, and when it said that it was done."""
        begin, end = next((b, e) for o, b, e, _, _ in self.steps if o is op)
        return [f for f in self.flushes if begin < f < end] + [end]

    def count(self, op):
        return len(self.moments(op)) * len(PARTS)

    def apply(self, image, log, writes):
        for _, offset, where, length in writes:
            image.seek(offset)
            log.seek(where)
            image.write(log.read(length))

    def after_cut(self, op, n):
        """Mount what a cut left; the states between which the user may find the store."""
        moment, part = self.moments(op)[(n - 1) // len(PARTS)], PARTS[(n - 1) % len(PARTS)]
        flushed = max(f for f in self.flushes if f <= moment)
        # Right at a flush nothing is pending: then what came after it until the next one is what may be lost.
        until = moment if moment > flushed else next((f for f in self.flushes if f > flushed), moment)
        done = until if part != "nothing" else moment
        w = self.world
        w.drop_cgroups()
        for where in (w.runfs, w.graph):
            w.umount(where)
        shutil.copyfile(self.base, self.cut)
        pending = [w for w in self.writes if flushed <= w[0] < until]
        if part == "nothing":
            pending = []
        elif part == "a part":
            pick = random.Random(n * 7919 + moment)
            pending = [w for w in pending if pick.random() < 0.5]
            done = flushed if moment == flushed else moment
        with open(self.cut, "r+b") as image, open(self.log, "rb") as log:
            self.apply(image, log, [w for w in self.writes if w[0] < flushed])
            self.apply(image, log, pending)
        w.mount(w.runfs, None)
        must(["mount", "-o", "loop", self.cut, w.graph])
        said = sum(1 for s in self.steps if s[2] <= moment)
        may = min(said + 1 + sum(1 for s in self.steps if moment < s[2] <= done), len(self.steps))
        return f"at byte {moment}, flushed {flushed}, then {part}", [s[3] for s in self.steps[said:may]] + [self.steps[may - 1][4]]

    def close(self):
        self.world.umount(self.world.graph)
        shutil.rmtree(self.dir)


def empty_links(world):
    """podman, which cleans up a layer, would take away all short links with an empty one."""
    links = [f"{world.root}/overlay/{d}/link" for d in world.ls(world.root + "/overlay")]
    return [f"{p} has {os.path.getsize(p)} bytes" for p in links if os.path.isfile(p) and os.path.getsize(p) != 26]


def check_cut(world, op, states):
    """Nothing that was told is lost, nothing is there that was never made."""
    found = empty_links(world)
    images, ctrs = world.image_names(), set(world.container_names())
    for name in set(images).union(*(s[0] for s in states)):
        if images.get(name) not in [s[0].get(name) for s in states]:
            found.append(f"image {name} is {images.get(name)}, not one of {[s[0].get(name) for s in states]}")
    for name in ctrs.union(*(s[1] for s in states)) - {"r1", "b1", "dr1"}:
        if name not in op.containers and (name in ctrs) not in [name in s[1] for s in states]:
            found.append(f"container {name} is {'there' if name in ctrs else 'lost'}")
    return found
