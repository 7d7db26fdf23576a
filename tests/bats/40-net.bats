#!/usr/bin/env bats
# The default bridge and published ports, as `hoy run` uses them.

load ../lib/hoy

@test "bridge: an address, a gateway, a published port from here and from another container, and nothing left" {
	have_image busybox
	hoy run -d --name web -p 18080:80 busybox httpd -f -h /www -p 80
	until_true 5 curl -sf -o "$T/page" http://127.0.0.1:18080/
	[[ $(<"$T/page") == '<h1>hoy</h1>' ]]
	ip=$(hoy inspect -f '{{.NetworkSettings.IPAddress}}' web)
	[[ $ip == 10.88.* ]]
	[[ $(hoy run --rm busybox wget -qO- "http://$ip/") == '<h1>hoy</h1>' ]]
	[[ $(hoy port web) == '80/tcp -> 0.0.0.0:18080' ]]
	try hoy run --rm -p 18080:80 busybox true
	assert_stderr_has 'cannot listen on the TCP port'
	hoy rm -f -t 0 web
	run ! curl -sf http://127.0.0.1:18080/
	run ! bash -c 'nft list ruleset | grep 18080'
}
