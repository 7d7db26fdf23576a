#!/usr/bin/env bats
# Builds at the same time, and what others do to the store meanwhile.

load ../lib/hoy

# For a subshell, whose process becomes the tool's.
start() { exec "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --network none -v "$PWD/count:/count" "$@"; }

# wait_for COMMAND...: until it succeeds.
wait_for() {
	local i
	for ((i = 0; i < 300; i++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}
counted() { [[ $(ls count | wc -l) -ge $1 ]]; }

# Each time that the RUN is carried out there is one more file in "count"; it goes on when there is "on".
make_file() {
	mkdir -p ctx count
	printf 'FROM busybox\nRUN mktemp /count/XXXXXX; while [ ! -e /count/on ]; do sleep 0.1; done; %s\nRUN echo last >/last\n' "$1" >ctx/Containerfile
}

@test "the first of two builds is killed: the other one carries the step out, once" {
	have_image busybox
	make_file 'echo made >/made'
	start ctx >out1 2>err1 3>&- &
	first=$!
	wait_for counted 1
	start -q ctx >out2 2>err2 3>&- &
	second=$!
	start -q ctx >out3 2>err3 3>&- &
	third=$!
	sleep 0.5
	[[ $(ls count | wc -l) == 1 ]]
	kill -9 $first
	wait_for counted 2
	touch count/on
	wait $second
	wait $third
	cmp out2 out3
	[[ $(ls count | wc -l) == 3 && $(wc -l <out2) == 1 ]] # two, and "on"
	# The next command gives back what the dead one had.
	hoy-build containers >/dev/null
	[[ -z $(hoy ps -aq --external) ]]
}
hoy-build() { tool hoy-build "${HOY_OPTS[@]}" "$@"; }

@test "the first of two builds fails: the other one tries for itself, and tells of it" {
	have_image busybox
	make_file 'exit 3'
	start ctx >out1 2>err1 3>&- &
	first=$!
	wait_for counted 1
	start ctx >out2 2>err2 3>&- &
	second=$!
	sleep 0.5
	counted 1
	touch count/on
	wait $first || [[ $? == 3 ]]
	wait $second || [[ $? == 3 ]]
	[[ $(ls count | wc -l) == 3 ]]
	grep -q 'exit status 3' err1
	grep -q 'exit status 3' err2
	[[ -z $(hoy images -aq --filter dangling=true) && -z $(hoy ps -aq --external) ]]
}

@test "two builds with the same -t: both end well, the name is one's, both images are whole" {
	have_image busybox
	mkdir -p ctx count
	for i in 1 2 3 4; do
		printf 'FROM busybox\nRUN echo %s >/which\n' $i >ctx/$i
		start -q -t same -f ctx/$i ctx >out$i 2>err$i 3>&- &
	done
	wait
	cat err*
	[[ -z $(cat err1 err2 err3 err4) ]]
	[[ $(hoy images --filter reference=same -q | wc -l) == 1 ]]
	for i in 1 2 3 4; do
		[[ $(hoy run --rm --network none "$(cat out$i)" cat /which) == $i ]]
	done
	grep -qx "$(hoy images -q --no-trunc same | sed s/sha256://)" out1 out2 out3 out4 -h
}

@test "what a registry has as a cache, two builds take: each step is pushed and pulled whole" {
	have_image busybox
	registry_start cache
	make_file 'echo made >/made'
	touch count/on
	for i in 1 2 3; do
		start -q --tls-verify=false --cache-from "$REGISTRY/c" --cache-to "$REGISTRY/c" ctx >out$i 2>err$i 3>&- &
	done
	wait
	cat err*
	cmp out1 out2
	cmp out1 out3
	[[ $(ls count | wc -l) == 2 ]]
	# Another host, where nothing is carried out.
	store_new other
	have_image busybox
	for i in 4 5; do
		start -q --tls-verify=false --cache-from "$REGISTRY/c" ctx >out$i 2>err$i 3>&- &
	done
	wait
	cat err*
	cmp out4 out5
	[[ $(ls count | wc -l) == 2 && $(hoy run --rm --network none "$(cat out4)" cat /made /last | xargs) == 'made last' ]]
}

@test "beside a build: prunes again and again, and rmi of its base" {
	have_image busybox
	mkdir -p ctx count
	printf 'FROM busybox AS a\n%s\nFROM busybox\nCOPY --from=a / /a\n%s\n' \
		"$(for i in {1..8}; do echo "RUN echo $i >/f$i"; done)" "$(for i in {1..8}; do echo "LABEL l$i=x"; done)" >ctx/Containerfile
	while [[ ! -e stop ]]; do
		hoy builder prune -f --max-used-space 1 >/dev/null 2>>pruned || echo failed >>pruned
		hoy image prune -f >/dev/null 2>>pruned || echo failed >>pruned
	done &
	pruner=$!
	for i in 1 2 3; do
		(start -q --no-cache --jobs $i -t "kept-$i" ctx >out 2>err 3>&-) || { touch stop; cat err; false; }
		(start -q -t "again-$i" ctx >out 2>err 3>&-) || { touch stop; cat err; false; }
	done
	touch stop
	wait $pruner
	[[ ! -s pruned ]]
	for i in 1 2 3; do
		[[ $(hoy run --rm --network none again-$i sh -c 'cat /a/f*' | xargs) == '1 2 3 4 5 6 7 8' ]]
	done
	# What a build stands on can lose its name, but isn't gone before it ends.
	make_file 'cat /bin/busybox >/copy'
	start -q -t done ctx >out 2>err 3>&- &
	pid=$!
	wait_for counted 1
	hoy rmi -f busybox again-{1,2,3} kept-{1,2,3} >/dev/null 2>&1 || :
	touch count/on
	wait $pid && [[ $(hoy run --rm --network none done cat /last) == last ]] || grep -q '^Error: .*' err
	[[ -z $(hoy ps -aq --external) ]]
	hoy system check
}

@test "ordinary users: builds of one user carry a step out once" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/ctx" "$U/count"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	printf 'FROM busybox\nRUN mktemp /count/XXXXXX; sleep 1; date +%%N >/when\nRUN mktemp /count/XXXXXX; date +%%N >/then\n' >"$U/ctx/Containerfile"
	chown -R hoytest "$U/ctx" "$U/count"
	for i in 1 2 3; do
		as_user "$U/bin/hoy" --runtime "$U/bin/hoy-runtime" build -q --network none -v "$U/count:/count" "$U/ctx" >"out$i" 2>"err$i" 3>&- &
	done
	wait
	cat err*
	cmp out1 out2
	cmp out1 out3
	[[ $(wc -l <out1) == 1 && $(ls "$U/count" | wc -l) == 2 ]]
}
