#!/usr/bin/env bats
# hoy's containers in scopes of systemd's, as podman names them.

load ../lib/hoy
load ../lib/runtime

# The part of a script in which h is hoy, with the store's options.
h_is_hoy() { printf 'h() { "%s" %s "$@"; }\n' "$HOY_BIN/hoy" "$(printf '%q ' "${HOY_OPTS[@]}")"; }
image() { hoy import -q "$(fixture busybox)/rootfs.tar" bb:1 >/dev/null; }

@test "systemd: a container and its monitor have scopes of their own, and leave none" {
	image
	with_systemd unified "$(h_is_hoy)"'
		h --cgroup-manager=systemd run -d --name c --network none bb:1 sleep 1000 >/dev/null
		id=$(h inspect -f "{{.Id}}" c)
		h inspect -f "{{.HostConfig.CgroupManager}} {{.State.CgroupPath}} {{.HostConfig.CgroupParent}}." c | sed "s/$id/ID/"
		sed -n "s/^0:://p" /proc/$(h inspect -f "{{.State.Pid}}" c)/cgroup | sed "s/$id/ID/"
		sed -n "s/^0:://p" /proc/$(h inspect -f "{{.State.ConmonPid}}" c)/cgroup | sed "s/$id/ID/"
		systemctl --user is-active libpod-$id.scope libpod-conmon-$id.scope
		h exec c sh -c "echo in; exit 3" || echo $?
		h pause c >/dev/null; h ps --format "{{.Names}} {{.State}}"; h unpause c >/dev/null
		h top c | wc -l
		# It is what it was created as, whoever starts it.
		h --cgroup-manager=cgroupfs stop -t 0 c >/dev/null
		for ((i = 0; i < 50; i++)); do systemctl --user is-active --quiet libpod-conmon-$id.scope || break; sleep 0.1; done
		systemctl --user is-active libpod-$id.scope libpod-conmon-$id.scope || true
		h --cgroup-manager=cgroupfs start c >/dev/null
		systemctl --user is-active libpod-$id.scope
		h rm -f -t 0 c >/dev/null
		for ((i = 0; i < 50; i++)); do systemctl --user is-active --quiet libpod-conmon-$id.scope || break; sleep 0.1; done
		systemctl --user list-units --all "libpod*" --no-legend
		find /sys/fs/cgroup -path "*'$CG'/*libpod-*"'
	[[ -z $stderr ]] || { echo "$stderr" >&2; false; }
	assert_stdout_like "^systemd $CG/machine.slice/libpod-ID.scope \.
$CG/machine.slice/libpod-ID.scope/container
$CG/machine.slice/libpod-conmon-ID.scope
active
active
in
3
c paused
[23]
inactive
inactive
active$"
}

@test "systemd: by containers.conf, in a slice of one's own, by default where it runs; and what is refused" {
	image
	cat >"$T/containers.conf" <<-'C'
		[engine]
		cgroup_manager = "systemd"
	C
	with_systemd unified "$(h_is_hoy)"'
		look() { h inspect -f "{{.HostConfig.CgroupManager}} {{.State.CgroupPath}} {{.HostConfig.CgroupParent}}" "$1" | sed "s/[0-9a-f]\{64\}/ID/"; }
		CONTAINERS_CONF=$T/containers.conf h run -d --name c --network none --cgroup-parent=mine.slice bb:1 sleep 1000 >/dev/null
		look c
		CONTAINERS_CONF=$T/containers.conf h info --format json | grep cgroupManager
		h run --rm --network none bb:1 cat /proc/self/cgroup
		h run -d --name d --network none bb:1 sleep 1000 >/dev/null
		look d
		h --cgroup-manager=cgroupfs run -d --name e --network none --cgroup-parent='"$CG/x"' bb:1 sleep 1000 >/dev/null
		look e
		h --cgroup-manager=systemd create --cgroup-parent=/mine bb:1 || echo $?
		h --cgroup-manager=cgroupfs create --cgroup-parent=mine.slice bb:1 || echo $?
		h --cgroup-manager=other create bb:1 || echo $?
		DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nobody h --cgroup-manager=systemd run --rm --network none bb:1 true || echo $?
		h rm -fa -t 0 >/dev/null'
	assert_stdout_like "^systemd $CG/mine.slice/libpod-ID.scope mine.slice
 *\"cgroupManager\": \"systemd\",
.*
systemd $CG/machine.slice/libpod-ID.scope 
cgroupfs $CG/x/libpod-ID $CG/x
125
125
125
12[5-7]$"
	assert_stderr_has "did not receive systemd slice as cgroup parent when using systemd to manage cgroups: '/mine'"
	assert_stderr_has "systemd slice received as cgroup parent when using cgroupfs: 'mine.slice'"
	assert_stderr_has "unknown cgroup manager 'other' (use: systemd or cgroupfs)"
	assert_stderr_has "cannot connect to '/nobody': No such file or directory"
}

@test "systemd: an ordinary user's scopes are his own manager's" {
	[[ -d /sys/fs/cgroup/unified || -e /sys/fs/cgroup/cgroup.controllers ]] || skip 'no cgroup v2'
	U=$T/user
	install -d -o hoytest -g hoytest -m 755 "$U" "$U/bin" "$U/run"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	install -m 644 "$(fixture busybox)/rootfs.tar" "$U/rootfs.tar"
	cat >"$U/inside" <<-'END'
		export XDG_RUNTIME_DIR=$HOME/run DBUS_SESSION_BUS_ADDRESS=unix:path=$HOME/run/bus
		dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork --nopidfile >"$HOME/dbus.log" 2>&1 &
		for ((i = 0; i < 100; i++)); do [[ ! -e $HOME/run/bus ]] || break; sleep 0.05; done
		/lib/systemd/systemd --user --unit=basic.target >"$HOME/systemd.log" 2>&1 &
		for ((i = 0; i < 100; i++)); do ! busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1 || break; sleep 0.05; done
		hoy import -q rootfs.tar bb:1 >/dev/null
		id=$(hoy run -d --name c --network none bb:1 sleep 1000)
		{
			hoy inspect -f '{{.HostConfig.CgroupManager}} {{.State.CgroupPath}} {{.HostConfig.CgroupParent}}' c
			sed -n 's/^0:://p' "/proc/$(hoy inspect -f '{{.State.ConmonPid}}' c)/cgroup"
		} | sed "s/$id/ID/"
		systemctl --user is-active "libpod-$id.scope" "libpod-conmon-$id.scope"
		hoy exec c echo in
		hoy rm -f -t 0 c
		systemctl --user is-active "libpod-$id.scope"
		# Where no bus is, systemd itself is asked; by default that is no session.
		unset DBUS_SESSION_BUS_ADDRESS
		rm "$HOME/run/bus"
		hoy --cgroup-manager=systemd run --name d --network none bb:1 true
		hoy inspect -f '{{.HostConfig.CgroupManager}} {{.State.ExitCode}}' d
		hoy run -d --name e --network none bb:1 sleep 1000 | wc -l
		hoy inspect -f '{{.HostConfig.CgroupManager}}' e
		hoy rm -fa -t 0 | wc -l
	END
	cat >"$T/outside" <<-END
		set -e
		mount --make-rprivate /
		mount -t tmpfs tmpfs /run
		mkdir -p /run/systemd/system
		[[ ! -d /sys/fs/cgroup/unified ]] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
		mkdir -p /sys/fs/cgroup$CG/session
		echo \$\$ >/sys/fs/cgroup$CG/session/cgroup.procs
		chown -R hoytest:hoytest /sys/fs/cgroup$CG
		cd "$U"
		setpriv --reuid hoytest --regid hoytest --clear-groups env -i ${ASAN_OPTIONS:+ASAN_OPTIONS=$ASAN_OPTIONS} HOME="$U" PATH="$U/bin:$PATH" USER=hoytest bash "$U/inside"
	END
	try timeout -k 5 60 unshare -mpf --kill-child --mount-proc bash "$T/outside"
	find /sys/fs/cgroup -depth -path "*$CG*" -type d -exec rmdir {} + || true
	assert_stdout "systemd $CG/session/user.slice/libpod-ID.scope user.slice
$CG/session/user.slice/libpod-conmon-ID.scope
active
active
in
c
inactive
systemd 0
1
cgroupfs
2"
}
