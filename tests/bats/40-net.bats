#!/usr/bin/env bats
# hoy-net: network namespaces get their interface, addresses and ports, netavark and we understand each other, nothing stays.

load ../lib/hoy

setup() {
	hoy_setup
	NET=$HOY_BIN/hoy-net
	CONFIG=$T/config
	NV=$T/bin/netavark
	mkdir -p "$CONFIG" "$T/bin" "$T/www"
	ln -s "$NET" "$NV"
	echo hello >"$T/www/index.html"
}

teardown() {
	local br
	for br in $(ip -j link show type bridge | jq -r '.[].ifname'); do ip link del "$br"; done
	nft delete table inet netavark 2>/dev/null || true
	ip link del hoy-out 2>/dev/null || true
	hoy_teardown
}

# A container named $1: its namespace is $NS, its id $ID.
container() {
	NS=hoy-net-$$-$1
	ID=$(printf '%s' "$1" | sha256sum | cut -c1-64)
	[[ -e /run/netns/$NS ]] || {
		ip netns add "$NS"
		printf '%s\n' "$NS" >>"$T/.hoy/own-netns"
	}
}
gone() { ip netns del "hoy-net-$$-$1"; }

# options NAME ADDRESSES [PORTS [JQ]]: the JSON for one container on network t0, changed by the program JQ.
options() {
	container "$1"
	jq -n --arg id "$ID" --arg name "$1" --arg ip "$2" --argjson ports "${3:-[]}" '{
		container_id: $id, container_name: $name, port_mappings: $ports,
		networks: {t0: {static_ips: ($ip | split(",")), interface_name: "eth0", aliases: [$id[:12]]}},
		network_info: {t0: {
			name: "t0", id: ("ab12cd34" * 8), driver: "bridge", network_interface: "hoybr0",
			subnets: [{subnet: "10.77.0.0/24", gateway: "10.77.0.1"}],
			ipv6_enabled: false, internal: false, dns_enabled: false, ipam_options: {driver: "host-local"}}}} |
		'"${4:-.}" >"$T/$1.json"
}
SIX='.network_info.t0 |= (.ipv6_enabled = true | .subnets += [{subnet: "fd77::/64", gateway: "fd77::1"}])'
other_network() {
	printf '.network_info.t0 |= (.id = ("%s" * 32) | .network_interface = "%s" | .subnets = [{subnet: "%s.0/24", gateway: "%s.1"}])' "$1" "$2" "$3" "$3"
}
port() { printf '{"host_ip":"%s","host_port":%s,"container_port":%s,"protocol":"%s","range":%s}' "$1" "$2" "$3" "${4:-tcp}" "${5:-1}"; }

# run_net VERB NAME TOOL...: setup or teardown of the container NAME.
run_net() {
	container "$2"
	"${@:3}" --config "$CONFIG" -f "$T/$2.json" "$1" "/run/netns/$NS"
}
up() { options "$@" && run_net setup "$1" "$NET" >"$T/$1.status"; }
down() { run_net teardown "$1" "${2:-$NET}"; }
oracle_nv() { oracle /usr/lib/podman/netavark "$@"; }

inside() { ip netns exec "hoy-net-$$-$1" "${@:2}"; }
serve() {
	background ip netns exec "hoy-net-$$-$1" busybox httpd -f -p "$2" -h "$T/www"
	listens "$2" inside "$1"
}
# listens PORT [COMMAND...]: wait for a server on 127.0.0.1 where COMMAND runs things.
listens() { until_true 5 "${@:2}" bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null; }
there() { ip link show "$1" >/dev/null 2>&1; }
link() { ip -j link show "$1" | jq -r ".[].$2"; }
get() { curl -sS -m 3 "$1"; }
rules() { nft list table inet netavark; }
fails() {
	run_net setup "$1" try "$NET"
	assert_status 1
	jq -e .error <<<"$output" >/dev/null || show 'no error object'
	assert_stdout_has "$2"
}
nothing_left() {
	[[ $(ip -j link show type bridge) != *ifname* ]] || { ip link; return 1; }
	[[ -z $(find "$CONFIG" -path '*/ports/*' -o -path '*/networks/*') ]] || { find "$CONFIG"; return 1; }
	nft list ruleset | not grep -E '10\.77\.|fd77|hoybr|nv_ab12'
}

# ---- what is inside

@test "setup: addresses, routes, loopback, gateway; the answer is netavark's" {
	options a 10.77.0.9
	run_net setup a try "$NET"
	assert_success
	mac=$(inside a cat /sys/class/net/eth0/address)
	assert_stdout '{"t0":{"dns_search_domains":[],"dns_server_ips":[],"interfaces":{"eth0":{"mac_address":"'"$mac"'","subnets":[{"gateway":"10.77.0.1","ipnet":"10.77.0.9/24"}]}}}}'
	[[ $stderr == '' ]]
	inside a busybox ping -c 1 -W 2 10.77.0.1
	inside a busybox ping -c 1 -W 2 127.0.0.1
	[[ $(inside a ip -4 route) == *'default via 10.77.0.1 dev eth0'*' metric 100 '* ]]
	[[ $(inside a cat /proc/sys/net/ipv4/conf/eth0/arp_notify) == 1 ]]
	[[ $(cat /proc/sys/net/ipv4/conf/hoybr0/route_localnet /proc/sys/net/ipv4/ip_forward) == $'1\n1' ]]
}

@test "setup: the JSON may come from stdin" {
	options a 10.77.0.9
	"$NET" --config "$CONFIG" setup "/run/netns/$NS" <"$T/a.json" >/dev/null
	(sleep 0.1; cat "$T/a.json") | "$NET" --config "$CONFIG" teardown "/run/netns/$NS"
}

@test "setup: two families, static MAC, mtu, static routes, a name for the end outside" {
	options a 10.77.0.9,fd77::9 '[]' "$SIX"' | .networks.t0 += {static_mac: "02:00:00:aa:bb:cc", options: {host_interface_name: "outer"}} |
		.network_info.t0 += {options: {mtu: "1400", metric: "55"},
			routes: [{destination: "10.99.0.0/16", gateway: "10.77.0.5", metric: 9}, {destination: "10.98.0.0/16", route_type: "blackhole"}]}'
	run_net setup a "$NET" >"$T/status"
	jq -e '.t0.interfaces.eth0 | .mac_address == "02:00:00:aa:bb:cc" and (.subnets | length) == 2' "$T/status"
	[[ $(inside a cat /sys/class/net/eth0/{address,mtu}) == $'02:00:00:aa:bb:cc\n1400' ]]
	[[ $(link outer mtu) == 1400 && $(link hoybr0 mtu) == 1400 ]]
	[[ $(inside a ip -4 route) == *'blackhole 10.98.0.0/16'* ]]
	[[ $(inside a ip -4 route) == *'10.99.0.0/16 via 10.77.0.5 dev eth0'*' metric 9'* ]]
	[[ $(inside a ip -6 route) == *'default via fd77::1 dev eth0'*' metric 55 '* ]]
	[[ $(cat /proc/sys/net/ipv6/conf/hoybr0/accept_dad) == 0 ]]
}

@test "setup: vlan, or the kernel's refusal" {
	options a 10.77.0.9 '[]' '.networks.t0.options = {host_interface_name: "outer"} | .network_info.t0.options = {vlan: "7"}'
	ip link add probe type bridge vlan_filtering 1 2>/dev/null || {
		fails a 'cannot create the bridge hoybr0: Operation not supported'
		return
	}
	run_net setup a "$NET" >"$T/status"
	[[ $(bridge vlan show dev outer) == *' 7 PVID Egress Untagged'* ]]
}

@test "the same address comes with the same MAC, another one with another" {
	up a 10.77.0.9
	first=$(inside a cat /sys/class/net/eth0/address)
	up b 10.77.0.10
	[[ $(inside b cat /sys/class/net/eth0/address) != "$first" ]]
	gone a
	up a 10.77.0.9
	[[ $(inside a cat /sys/class/net/eth0/address) == "$first" ]]
}

@test "a bridge keeps its address when containers come and go" {
	up a 10.77.0.9
	first=$(link hoybr0 address)
	up b 10.77.0.10
	down a
	gone a
	[[ $(link hoybr0 address) == "$first" ]]
}

@test "internal: no default route, no rules; the gateway answers" {
	up a 10.77.0.9 "[$(port '' 18080 80)]" '.network_info.t0.internal = true'
	[[ $(inside a ip -4 route) != *default* ]]
	run ! nft list table inet netavark
	inside a busybox ping -c 1 -W 2 10.77.0.1
	down a
}

@test "several networks: an interface each, one answer; both may bring a default route" {
	t1='.networks.t1 = {static_ips: ["10.78.0.9"], interface_name: "eth1"} |
		.network_info.t1 = (.network_info.t0 | .name = "t1" | .id = ("ef" * 32) | .network_interface = "hoybr1" |
			.subnets = [{subnet: "10.78.0.0/24", gateway: "10.78.0.1"}])'
	options a 10.77.0.9 '[]' "$t1 | .network_info.t1.options = {no_default_route: \"true\"}"
	run_net setup a "$NET" >"$T/status"
	[[ $(jq -r '[.[].interfaces[].subnets[].ipnet] | sort | join(" ")' "$T/status") == '10.77.0.9/24 10.78.0.9/24' ]]
	[[ $(inside a ip -4 route) != *'default via 10.78'* ]]
	inside a busybox ping -c 1 -W 2 10.78.0.1
	down a "$NV"
	nothing_left
	options a 10.77.0.9 '[]' "$t1"
	run_net setup a "$NET" >"$T/status"
	[[ $(inside a ip -4 route | grep -c default) == 2 ]]
}

# ---- who can reach whom

@test "masquerade: the world sees the host's address" {
	net_outside
	up a 10.77.0.9,fd77::9 '[]' "$SIX"
	background ip netns exec "$OUTSIDE" socat TCP6-LISTEN:7000,ipv6only=0,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR'
	listens 7000 ip netns exec "$OUTSIDE"
	[[ $(inside a socat -T 2 - TCP:192.0.2.2:7000 </dev/null) == *:c000:0201* ]]
	[[ $(inside a socat -T 2 - 'TCP6:[2001:db8::2]:7000' </dev/null) == *2001:0db8:0000:0000:0000:0000:0000:0001* ]]
}

@test "ports: from this host by any address, from outside, from another container" {
	net_outside
	up a 10.77.0.9,fd77::9 "[$(port '' 18080 80), $(port 127.0.0.1 18081 80), $(port 192.0.2.1 18082 80)]" "$SIX"
	up b 10.77.0.10,fd77::10 '[]' "$SIX"
	serve a 80
	for url in 127.0.0.1:18080 127.0.0.1:18081 192.0.2.1:18080 192.0.2.1:18082 10.77.0.1:18080 '[2001:db8::1]:18080'; do
		[[ $(get "http://$url/") == hello ]] || { echo "$url"; rules; return 1; }
	done
	run ! get http://192.0.2.1:18081/
	run ! get http://127.0.0.1:18082/
	outside="ip netns exec $OUTSIDE curl -sS -m 3"
	[[ $($outside http://192.0.2.1:18080/) == hello ]]
	[[ $($outside 'http://[2001:db8::1]:18080/') == hello ]]
	run ! $outside http://192.0.2.1:18081/
	# (Not from a itself: kernel 6.18 drops what a packet's rewritten destination makes its own source, with netavark too.)
	[[ $(inside b curl -sS -m 3 http://192.0.2.1:18080/) == hello ]]
	[[ $(inside b curl -sS -m 3 http://10.77.0.1:18080/) == hello ]]
	[[ $(inside b curl -sS -m 3 'http://[2001:db8::1]:18080/') == hello ]]
	down a
	run ! get http://127.0.0.1:18080/
}

@test "ports: ranges, udp and sctp" {
	net_outside
	up a 10.77.0.9 "[$(port '' 18080 80 tcp 3), $(port '' 5300 53 udp), $(port '' 7 7 sctp)]"
	serve a 82
	background ip netns exec "hoy-net-$$-a" socat -T 1 UDP-LISTEN:53,fork EXEC:cat
	[[ $(get http://127.0.0.1:18082/) == hello ]]
	udp() { [[ $(echo ping | "${@:2}" socat -T 1 - "UDP:$1:5300") == ping ]]; }
	until_true 5 udp 127.0.0.1
	udp 192.0.2.1 ip netns exec "$OUTSIDE"
	[[ $(rules) == *'sctp dport 7 dnat ip to 10.77.0.9:7'* ]]
}

@test "ports: a range of thousands" {
	up a 10.77.0.9 "[$(port '' 20000 20000 tcp 5000)]"
	serve a 24999
	[[ $(get http://127.0.0.1:24999/) == hello ]]
	down a
	[[ $(rules) != *dnat\ ip* ]]
}

@test "subnets whose length is no multiple of eight" {
	odd='.network_info.t0.subnets = [{subnet: "10.77.16.0/20", gateway: "10.77.16.1"}, {subnet: "fd77:0:0:8::/61", gateway: "fd77:0:0:8::1"}]'
	net_outside
	up a 10.77.16.9,fd77:0:0:8::9 "[$(port '' 18080 80)]" "$odd"
	serve a 80
	[[ $(get http://127.0.0.1:18080/) == hello ]]
	up b 10.77.16.10 '[]' "$odd"
	[[ $(inside b curl -sS -m 3 http://192.0.2.1:18080/) == hello ]]
	[[ $(rules) == *'ip saddr 10.77.16.0/20 accept'*'ip6 saddr fd77:0:0:8::/61 accept'* ]]
	before=$(rules)
	up c 10.77.16.11 '[]' "$odd"
	[[ $(rules) == "$before" ]]
	for c in c b a; do down $c "$NV"; done
	nothing_left
}

@test "isolate: two networks that want it do not reach each other" {
	up a 10.77.0.9 '[]' '.network_info.t0.options = {isolate: "true"}'
	up b 10.78.0.9 '[]' "$(other_network ef hoybr1 10.78.0)"' | .network_info.t0.options = {isolate: "true"}'
	up c 10.79.0.9 '[]' "$(other_network 0f hoybr2 10.79.0)"
	run ! inside a busybox ping -c 1 -W 1 10.78.0.9
	run ! inside b busybox ping -c 1 -W 1 10.77.0.9
	inside a busybox ping -c 1 -W 2 10.79.0.9
}

@test "a flushed table: who starts next has its rules again, and so has its network" {
	up a 10.77.0.9
	nft flush ruleset
	up b 10.77.0.10 "[$(port '' 18080 80)]"
	serve b 80
	[[ $(get http://127.0.0.1:18080/) == hello ]]
	before=$(rules)
	down b
	gone b
	nft flush table inet netavark
	up b 10.77.0.10 "[$(port '' 18080 80)]"
	[[ $(rules) == "$before" ]]
	# one of many
	nft -a list chain inet netavark FORWARD | sed -n 's/.*ct state invalid drop # handle //p' >"$T/handle"
	nft delete rule inet netavark FORWARD handle "$(<"$T/handle")"
	up c 10.77.0.11
	[[ $(rules | sort) == "$(sort <<<"$before")" ]]
}

@test "what a crash left for a host port does not keep it from its new owner" {
	up a 10.77.0.9 "[$(port '' 18080 80)]"
	gone a
	up b 10.77.0.10 "[$(port '' 18080 80)]"
	serve b 80
	[[ $(get http://127.0.0.1:18080/) == hello ]]
	[[ $(rules) != *10.77.0.9:80* ]]
}

@test "others' rules in our table stay, and nobody else's table is touched" {
	up a 10.77.0.9 "[$(port '' 18080 80)]"
	nft add table inet mine
	nft add chain inet mine c
	nft add rule inet mine c ip saddr 10.77.0.0/24 accept
	nft add rule inet netavark FORWARD ip saddr 10.5.0.0/16 counter drop
	nft add rule inet netavark NETAVARK-HOSTPORT-DNAT tcp dport 18080 counter accept
	down a "$NV"
	[[ $(nft list table inet mine) == *'ip saddr 10.77.0.0/24 accept'* ]]
	[[ $(rules) == *'ip saddr 10.5.0.0/16 counter'*drop* && $(rules) == *'tcp dport 18080 counter'*accept* ]]
	nft delete table inet mine
}

# ---- the end

@test "teardown: twice, without namespace, without interface; as hoy-net the network stays, remove takes it" {
	up a 10.77.0.9 "[$(port '' 18080 80)]"
	[[ -e $CONFIG/firewall/ports/$(printf 'ab12cd34%.0s' {1..8})_$ID ]]
	before=$(rules)
	down a
	[[ $(rules) != *18080* ]]
	down a
	inside a ip link show eth0
	gone a
	try "$NET" --config "$CONFIG" -f "$T/a.json" teardown "/run/netns/$NS"
	assert_success
	assert_stdout ''
	there hoybr0
	up a 10.77.0.9 "[$(port '' 18080 80)]"
	[[ $(rules) == "$before" ]]
	jq .network_info.t0 "$T/a.json" >"$T/network.json"
	try "$NET" --config "$CONFIG" -f "$T/network.json" remove
	assert_status 1
	assert_stdout '{"error":"network t0: bridge hoybr0 is in use"}'
	down a
	inside a ip link del eth0
	down a
	"$NET" --config "$CONFIG" -f "$T/network.json" remove
	"$NET" --config "$CONFIG" -f "$T/network.json" remove
	nothing_left
}

@test "teardown as netavark: the interface goes, and with the last one bridge and rules" {
	up a 10.77.0.9 "[$(port '' 18080 80)]"
	up b 10.77.0.10 "[$(port '' 18081 80)]"
	down a "$NV"
	run ! inside a ip link show eth0
	there hoybr0
	[[ $(rules) == *18081* && $(rules) != *18080* ]]
	down b "$NV"
	nothing_left
	down b "$NV"
	down b
}

@test "eight at once, up and down" {
	pids=()
	for i in 1 2 3 4 5 6 7 8; do options c$i 10.77.0.1$i "[$(port '' 1808$i 80)]"; done
	for i in 1 2 3 4 5 6 7 8; do run_net setup c$i "$NET" >"$T/c$i.status" & pids+=($!); done
	for p in "${pids[@]}"; do wait "$p"; done
	[[ $(ip -j link show master hoybr0 | jq length) == 8 ]]
	[[ $(rules | grep -c 'dnat ip to') == 8 ]]
	[[ $(rules | grep -c 'ct state invalid') == 1 ]]
	for i in 1 8; do inside c$i busybox ping -c 1 -W 2 10.77.0.1; done
	pids=()
	for i in 1 2 3 4 5 6 7 8; do down c$i "$NV" & pids+=($!); done
	for p in "${pids[@]}"; do wait "$p"; done
	nothing_left
}

@test "the table changes under us all the time: nothing is lost" {
	nft add table inet busy
	(while nft 'add chain inet busy c; delete chain inet busy c' 2>/dev/null; do :; done) 3>&- & pid_record $!
	for i in 1 2 3 4 5 6 7 8; do up c$i 10.77.0.1$i "[$(port '' 1808$i 80)]"; done
	[[ $(rules | grep -c 'dnat ip to') == 8 ]]
	for i in 1 2 3 4 5 6 7 8; do down c$i; done
	[[ $(rules | grep -c 'dnat ip to') == 0 ]]
	nft delete table inet busy
}

# ---- netavark

@test "netavark's rules and files are ours: the same text from either one" {
	ports="[$(port '' 18080 80), $(port 127.0.0.1 18081 81 udp 3), $(port 192.0.2.1 9 9 sctp)]"
	for isolate in false true strict; do
		options a 10.77.0.9,fd77::9 "$ports" "$SIX"' | .network_info.t0.options = {isolate: "'$isolate'"}'
		run_net setup a oracle_nv >"$T/theirs.json"
		rules | sed 's,ip6 daddr != ::/8,ip6 daddr != ff00::/8,' >"$T/theirs"
		cp -r "$CONFIG" "$T/theirs.d"
		run_net teardown a oracle_nv
		nft delete table inet netavark
		run_net setup a "$NET" >"$T/ours.json"
		rules >"$T/ours"
		diff "$T/theirs" "$T/ours"
		diff -r "$T/theirs.d" "$CONFIG"
		[[ $(jq 'del(..|.mac_address?)' "$T/theirs.json") == "$(jq 'del(..|.mac_address?)' "$T/ours.json")" ]]
		down a "$NV"
		nft delete table inet netavark
		rm -rf "$T/theirs.d"
	done
}

@test "what one sets up the other takes down, and finds complete" {
	ports="[$(port '' 18080 80), $(port 127.0.0.1 18081 81 udp 3), $(port 192.0.2.1 9 9 sctp), $(port :: 19000 80)]"
	options a 10.77.0.9,fd77::9 "$ports" "$SIX"
	options b 10.77.0.10,fd77::10 "[$(port '' 28080 80)]" "$SIX"
	traces() { rules | grep -c -E '10\.77\.0\.9|fd77::9|18080|18081|19000'; }
	for order in "oracle_nv $NET" "$NET oracle_nv"; do
		read -r one two <<<"$order"
		[[ $one == oracle_nv ]] && three=$NV || three=oracle_nv
		run_net setup a "$one"
		before=$(rules)
		run_net setup b "$two"
		[[ $(rules | wc -l) -le $(($(wc -l <<<"$before") + 10)) ]]
		run_net teardown a "$three"
		[[ $(traces) == 0 ]] || { rules; return 1; }
		[[ $two == oracle_nv ]] && last=$NV || last=oracle_nv
		run_net teardown b "$last"
		nothing_left
	done
}

@test "podman works with us as its netavark" {
	net_outside
	have_image busybox
	oracle cat /etc/containers/containers.conf >"$T/containers.conf"
	sed -i "s|^\[engine\]|&\nhelper_binaries_dir = [\"$T/bin\"]|" "$T/containers.conf"
	export CONTAINERS_CONF=$T/containers.conf
	try oracle_podman info --format '{{.Host.NetworkBackendInfo.Path}} {{.Host.NetworkBackendInfo.Version}}'
	assert_stdout_like "^$T/bin/netavark netavark [0-9.]+$"
	oracle_podman run -d --name web --network bridge -p 18080:80 localhost/busybox:latest httpd -f -h /www -p 80 3>&-
	page() { [[ $("$@" curl -sS -m 3 "http://$address:18080/") == '<h1>hoy</h1>' ]]; }
	address=127.0.0.1
	until_true 5 page
	address=192.0.2.1
	page ip netns exec "$OUTSIDE"
	[[ $(oracle_podman inspect -f '{{(index .NetworkSettings.Networks "podman").IPAddress}}' web) == 10.88.* ]]
	oracle_podman network create --disable-dns --subnet 10.97.0.0/24 second
	oracle_podman network connect second web
	oracle_podman exec web ip -4 addr show eth1 | grep 10.97.0.
	oracle_podman network disconnect second web
	run ! oracle_podman exec web ip -4 addr show eth1
	page
	# and back to the real one, for what we have set up
	unset CONTAINERS_CONF
	oracle_podman rm -f -t 0 web
	[[ $(rules) != *18080* ]]
	run ! there podman0
}

@test "hoy run: an address, a gateway, a published port from here and from another container, and nothing left" {
	net_outside
	have_image busybox
	id=$(hoy run -d --name web -p 18080:80 -p 127.0.0.1:18081:80 busybox httpd -f -h /www -p 80 3>&-)
	[[ -n $(ls /run/containers/networks/firewall/ports/*_"$id") ]]
	until_true 5 curl -sf -o "$T/page" http://127.0.0.1:18080/
	[[ $(<"$T/page") == '<h1>hoy</h1>' ]]
	[[ $(get http://127.0.0.1:18081/) == '<h1>hoy</h1>' ]]
	[[ $(ip netns exec "$OUTSIDE" curl -sS -m 3 http://192.0.2.1:18080/) == '<h1>hoy</h1>' ]]
	ip=$(hoy inspect -f '{{.NetworkSettings.IPAddress}}' web)
	[[ $ip == 10.88.* ]]
	[[ $(hoy run --rm busybox wget -qO- "http://$ip/") == '<h1>hoy</h1>' ]]
	[[ $(hoy run --rm busybox wget -qO- http://192.0.2.1:18080/) == '<h1>hoy</h1>' ]]
	[[ $(hoy port web) == $'80/tcp -> 0.0.0.0:18080\n80/tcp -> 127.0.0.1:18081' ]]
	try hoy ps
	assert_stdout_has '127.0.0.1:18081->80/tcp'
	try hoy run --rm -p 18080:80 busybox true
	assert_stderr_has 'cannot listen on the TCP port'
	hoy stop -t 0 web
	[[ $(rules) != *1808[01]* ]]
	hoy rm web
	run ! get http://127.0.0.1:18080/
	run ! ls /run/containers/networks/firewall/ports/*_"$id"
	gone_too() { [[ $(ip -j link show type veth) != *podman0* ]]; }
	until_true 5 gone_too
}

@test "nginx in a real Debian image of five layers: pulled by hoy or by podman, served by hoy or by podman" {
	registry_start r
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture debian)/oci:latest" "docker://$REGISTRY/debian:latest"
	echo 'server { listen 80; root /var/www/html; }' >site.conf
	site=(-v "$T/site.conf:/etc/nginx/conf.d/site.conf:ro")
	page() { [[ $(get "http://127.0.0.1:$1/") == '<h1>hoy</h1>' ]]; }
	for puller in hoy oracle_podman; do
		store_new "by-$puller"
		$puller pull -q --tls-verify=false "$REGISTRY/debian"
		hoy run -d --name web -p 18080:80 "${site[@]}" "$REGISTRY/debian" 3>&-
		oracle_podman run -d --name web2 --network host "${site[@]}" "$REGISTRY/debian" 3>&-
		until_true 5 page 18080
		until_true 5 page 80
		[[ $(curl -sI http://127.0.0.1:18080/) == *'Server: nginx'* ]]
		hoy stop web
		[[ $(hoy inspect -f '{{.State.ExitCode}}' web) == 0 ]]
		oracle_podman stop web2
	done
}

# ---- what is wrong

@test "bad input is one error, and leaves nothing" {
	bad=(
		'.container_id = "../x"' "invalid container_id '../x'"
		'.container_id = 7' "invalid container_id"
		'del(.networks)' "'networks' is missing"
		'del(.network_info)' 'network info for network t0 not found'
		'.networks.t0 = 5' 'no container interface name given'
		'.networks.t0.interface_name = "sixteen-letters-"' "'sixteen-letters-' is no interface name"
		'.networks.t0.interface_name = "a/b"' "'a/b' is no interface name"
		'.networks.t0.interface_name = ".."' "'..' is no interface name"
		'.network_info.t0.network_interface = "br\" accept"' 'is no interface name'
		'.network_info.t0.network_interface = "br*"' "'br*' is no interface name"
		'.network_info.t0.network_interface = ""' 'no bridge interface name given'
		'.network_info.t0.id = "a/../b"' "invalid id 'a/../b'"
		'.network_info.t0.subnets[0].subnet = "10.77.0.0/33"' "'10.77.0.0/33' is no subnet"
		'.network_info.t0.subnets[0].subnet = "10.77.0.0"' "'10.77.0.0' is no subnet"
		'.network_info.t0.subnets[0].gateway = "fd00::1"' "'fd00::1' is no gateway"
		'.network_info.t0.subnets += [{subnet: "10.0.0.0/8"}]' 'overlaps'
		'.networks.t0.static_ips = ["10.66.0.1"]' 'not all static IPs matched a subnet: expected 1, got 0'
		'.networks.t0.static_ips = ["x"]' "'x' is no address"
		'del(.networks.t0.static_ips)' 'no static ips provided'
		'.networks.t0.static_mac = "02:00:00:00:00"' "unable to parse mac address '02:00:00:00:00'"
		'.networks.t0.static_mac = "02:00:00:00:00:zz"' "unable to parse mac address"
		'.network_info.t0.options = {mtu: "1e3"}' 'unable to parse \"mtu\"'
		'.network_info.t0.options = {vlan: "4095"}' 'unable to parse \"vlan\"'
		'.network_info.t0.options = {isolate: "maybe"}' 'invalid isolate option \"maybe\"'
		'.network_info.t0.options = {vrf: "red"}' "option 'vrf' is not supported"
		'.network_info.t0.driver = "macvlan"' "driver 'macvlan' is not supported"
		'.network_info.t0.ipam_options.driver = "dhcp"' "ipam driver 'dhcp' is not supported"
		'.network_info.t0.routes = [{destination: "x", gateway: "10.77.0.5"}]' "'x' is no destination"
		'.network_info.t0.routes = [{destination: "10.0.0.0/8"}]' 'needs a gateway'
		'.port_mappings = [{host_port: 1, container_port: 99999999999999999999}]' "'container_port' must be a number"
		'.port_mappings = [{host_port: 65535, container_port: 1, range: 2}]' 'are not between 1 and 65535'
		'.port_mappings = [{host_port: 1, container_port: 1, protocol: "tcp accept"}]' "unknown protocol 'tcp accept'"
		'.port_mappings = [{host_port: 1, container_port: 1, host_ip: "1.2.3"}]' 'invalid host ip \"1.2.3\"'
		'.port_mappings = 3' "'port_mappings' is no list"
		'.network_info.t0.dns_enabled = true' 'DNS'
	)
	# (`run` has an i of its own that it does not keep to itself.)
	for ((at = 0; at < ${#bad[@]}; at += 2)); do
		options a 10.77.0.9 '[]' "${bad[at]}"
		fails a "${bad[at + 1]}"
	done
	for text in '' '{' '[]' '{"a":1}x' 'null' $'\xff'; do
		printf '%s' "$text" >"$T/a.json"
		fails a 'failed to load network options'
	done
	options a 10.77.0.9
	try "$NET" --config "$CONFIG" -f "$T/a.json" setup "$T/none"
	assert_status 1
	assert_stdout_has 'invalid namespace path'
	: >"$T/file"
	try "$NET" --config "$CONFIG" -f "$T/a.json" setup "$T/file"
	assert_stdout_has 'it is no namespace'
	try "$NET" --config "$CONFIG" -f "$T/a.json" setup /proc/self/ns/net
	assert_stdout_has "the host's own network"
	nothing_left
	run ! nft list table inet netavark
}

@test "a failure halfway is undone" {
	# the route's gateway cannot be reached: the kernel says so when all else is there
	options a 10.77.0.9 "[$(port '' 18080 80)]" '.network_info.t0.routes = [{destination: "10.1.0.0/16", gateway: "10.55.0.5"}]'
	fails a 'cannot set addresses and routes of eth0'
	nothing_left
	run ! inside a ip link show eth0
	# the interface is there: it stays, and so does the bridge that others use
	up b 10.77.0.10
	options a 10.77.0.9 "[$(port '' 18080 80)]"
	inside a ip link add eth0 type bridge
	before=$(rules)
	fails a "interface eth0 already exists"
	inside a ip link show eth0
	there hoybr0
	[[ $(rules) == "$before" ]]
	# the name of the bridge is taken
	options c 10.66.0.9 '[]' '.network_info.t0 |= (.network_interface = "lo" | .subnets = [{subnet: "10.66.0.0/24"}])'
	fails c 'interface lo already exists and is no bridge'
}

@test "commands: version, what is not there, and what makes no sense" {
	try "$NET" --version
	assert_stdout_like '^hoy-net [0-9.]+$'
	try "$NV" --version
	assert_stdout_like '^netavark 1\.[0-9.]+$'
	try "$NV" version
	[[ $(jq -r .default_fw_driver <<<"$output") == nftables ]]
	for verb in create update dhcp-proxy firewalld-reload firewall-reload; do
		try "$NV" $verb
		assert_status 1
		assert_stdout '{"error":"'$verb' is not supported"}'
	done
	try "$NET" bogus
	assert_error "unknown command bogus" 2
	try "$NET" setup
	assert_error "one network namespace must be named" 2
	try "$NET" --bogus setup x
	assert_error 'bogus' 2
	try "$NET" --rootless=maybe teardown x
	assert_error 'neither true nor false' 2
	try "$NET" --firewall-driver iptables setup x
	assert_status 1
	assert_stdout_has "firewall driver 'iptables' is not supported"
}
