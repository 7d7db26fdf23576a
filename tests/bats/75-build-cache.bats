#!/usr/bin/env bats
# The cache of builds: how large it may become, what goes first, and what stays because somebody uses it.

load ../lib/hoy
load ../lib/build

# step N: an image without a name, of two steps, the second of which is a layer of 2 MB; prints its id.
step() {
	printf 'FROM busybox\nENV N=%s\nRUN dd if=/dev/zero of=/f%s bs=1M count=2 2>/dev/null\n' "$1" "$1" >"ctx/$1"
	hoy build -q --network none -f "ctx/$1" ctx
}

# What is left without a name.
nameless() { hoy images -aq --no-trunc --filter dangling=true | sed 's/sha256://' | sort; }

@test "image prune --reserved-space: the steps go that no build has used for longest" {
	have_image busybox
	mkdir -p ctx
	for i in 1 2 3 4; do step $i; done >ids
	mapfile -t ids <ids
	# What was found in the cache is used, too.
	[[ $(step 1) == "${ids[0]}" ]]
	try hoy image prune -f --reserved-space 5m
	assert_success
	# The step below one goes next, where that is needed.
	[[ ${lines[0]} == "${ids[1]}" && ${lines[2]} == "${ids[2]}" && ${#lines[@]} == 4 && ${lines[3]} == 'Total reclaimed space: 4.'*MB ]]
	hoy build --network none -f ctx/4 ctx | grep 'Using cache' >/dev/null
	hoy build --network none -f ctx/1 ctx | grep 'Using cache' >/dev/null
	try hoy image prune -f --keep-storage 5m
	assert_stdout 'Total reclaimed space: 0B'
	# docker's and buildx's words for it.
	[[ $(hoy builder prune -f --max-used-space 3MB | grep -xFf <(printf '%s\n' "${ids[@]}")) == "${ids[3]}" ]]
	hoy-build "${HOY_OPTS[@]}" prune --max-used-space 1B | grep -x "${ids[0]}" >/dev/null
	[[ -z $(nameless) ]]
	hoy image exists busybox
	try hoy image prune -f --keep-storage lots
	assert_error "invalid size 'lots' for --reserved-space"
	try hoy image prune -f --max-used-space 1 --external
	assert_error 'a size of the cache cannot be combined with --build-cache, --external or --leftovers'
}
hoy-build() { tool hoy-build "$@"; }

@test "prune by size: what has a name stays, with -a its steps too; what is reserved; how much is free" {
	have_image busybox
	mkdir -p ctx
	one=$(step 1)
	hoy tag "$one" one
	two=$(step 2)
	[[ $(hoy buildx prune -f --max-used-space 1 | head -n 1) == "$two" ]]
	[[ $(hoy images -aq | wc -l) == 3 ]] # busybox, one, and the step that it stands on
	try hoy buildx prune -af --max-used-space 1
	assert_success
	[[ ${#lines[@]} == 2 && $(hoy images -aq | wc -l) == 2 ]]
	hoy run --rm --network none one test -s /f1
	two=$(step 2)
	# The disk is never so empty; but something is reserved.
	try hoy buildx prune -f --min-free-space 1000TB --reserved-space 10m
	assert_stdout 'Total reclaimed space: 0B'
	try hoy buildx prune -f --min-free-space 1 --max-used-space 100m
	assert_stdout 'Total reclaimed space: 0B'
	[[ $(hoy buildx prune -f --min-free-space 1000TB | head -n 1) == "$two" ]]
}

@test "prune by size and --filter until: what was used since stays" {
	have_image busybox
	mkdir -p ctx
	one=$(step 1) two=$(step 2)
	for id in $(hoy images -aq --no-trunc --filter until=0s | sed 's/sha256://'); do
		touch -d '2 days ago' "$ROOT/overlay-images/$id"
	done
	[[ $(step 2) == "$two" ]]
	try hoy buildx prune -f --max-used-space 1 --filter until=24h
	assert_success
	[[ ${lines[0]} == "$one" && ${#lines[@]} == 3 ]]
	try hoy buildx prune -f --max-used-space 1 --filter until=nonsense
	assert_error 'failed to parse value as time or duration: "nonsense"'
}

# cache ID SIZE: a RUN writes so many MB to that cache.
cache() {
	printf 'FROM busybox\nRUN --mount=type=cache,id=%s,target=/c%s dd if=/dev/zero of=/c/f bs=1M count=%s 2>/dev/null\n' "$1" "$3" "$2" >ctx/Containerfile
	hoy build -q --no-cache --network none ctx >/dev/null
}
caches() { ls "$TMPDIR/buildah-cache-0" 2>/dev/null | grep -v lockfiles; }

@test "prune by size: directories of RUN --mount=type=cache, too, least recently used first" {
	have_image busybox
	mkdir -p ctx
	cache one 2
	one=$(caches)
	cache two 2 ,sharing=locked
	two=$(caches | grep -v "$one")
	cache one 2
	hoy image prune -f >/dev/null
	[[ $(caches | wc -l) == 2 ]]
	try hoy builder prune -f --max-used-space 3m
	assert_stdout "$two
Total reclaimed space: 2.097MB"
	[[ $(caches) == "$one" && ! -e $TMPDIR/buildah-cache-0/buildah-cache-lockfiles/$two ]]
	try hoy builder prune -f --max-used-space 1 --filter label=a
	assert_stdout 'Total reclaimed space: 0B'
	try hoy builder prune -f --max-used-space 1 --filter until=1h
	assert_stdout 'Total reclaimed space: 0B'
	try hoy builder prune -f --max-used-space 1
	assert_stdout_like "^$one"
	# The next one makes it anew.
	cache one 1
	[[ $(caches) == "$one" ]]
}

@test "hoy-build prune: as buildah's, images that nobody needs and caches go" {
	have_image busybox
	mkdir -p ctx
	local -A prune=([ours]="tool hoy-build ${HOY_OPTS[*]} prune" [theirs]="oracle env TMPDIR=$TMPDIR buildah --root $ROOT --runroot $RUNROOT --storage-driver overlay --storage-opt overlay.skip_mount_home=true prune")
	for who in ours theirs; do
		cache x 1
		hoy build -q --network none -t kept ctx >/dev/null
		id=$(hoy create --network none kept)
		printf 'FROM busybox\nLABEL a=b\n' >ctx/Other
		hoy build -q -f ctx/Other ctx
		hoy tag busybox another
		try ${prune[$who]} -a
		[[ -z $(caches) && ! -e $TMPDIR/buildah-cache-0 ]]
		hoy images -an --format '{{.Repository}}' | sort >"left-$who"
		hoy rm "$id" >/dev/null
		have_image busybox
	done
	diff left-*
	grep -qx localhost/kept left-ours
	[[ $(wc -l <left-ours) == 1 ]]
	# Without -a, what has a name stays.
	id=$(hoy build -q -f ctx/Other ctx)
	[[ $(hoy-build "${HOY_OPTS[@]}" prune) == "$id" && $(hoy images -aq | wc -l) == 2 ]]
	# podman's system prune --build takes working containers, no cache; image prune --build-cache takes that.
	cache x 1
	hoy system prune -f --build >/dev/null
	[[ -n $(caches) ]]
	hoy image prune -f --build-cache
	[[ ! -e $TMPDIR/buildah-cache-0 ]]
}

# wait_for COMMAND...: until it succeeds.
wait_for() {
	local i
	for ((i = 0; i < 300; i++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

@test "prune beside a build: what it stands on and the caches that it has mounted stay" {
	have_image busybox
	mkdir -p ctx gate
	cat >ctx/Containerfile <<-'EOF'
	FROM busybox AS one
	RUN echo one >/one
	FROM busybox
	RUN echo two >/two
	RUN --mount=type=cache,target=/c --mount=type=cache,id=l,sharing=locked,target=/l echo x >/c/x; echo x >/l/x; touch /gate/up; while [ ! -e /gate/on ]; do sleep 0.1; done; cat /c/x /l/x >/both
	COPY --from=one /one /
	EOF
	for jobs in 1 4; do
		rm -f gate/*
		hoy image prune -f --build-cache >/dev/null
		hoy build -q --jobs $jobs --network none -v "$PWD/gate:/gate" ctx >id 2>err &
		wait_for test -e gate/up
		# (The RUN's own container keeps what it stands on; only locks keep the other stage, which nobody has named.)
		hoy builder prune -f --max-used-space 1 >pruned
		hoy image prune -f --build-cache >>pruned
		grep -qx 'Total reclaimed space: 0B' pruned
		[[ $(wc -l <pruned) == 1 && $(caches | wc -l) == 2 ]]
		touch gate/on
		wait
		[[ ! -s err && $(wc -l <id) == 1 ]]
		[[ $(hoy run --rm --network none "$(cat id)" cat /one /two /both | xargs) == 'one two x x' ]]
		hoy builder prune -f --max-used-space 1 | grep -qx "$(cat id)"
		[[ -z $(nameless) && -z $(caches) ]]
	done
}

two_left() { [[ $(nameless | grep -cxFf ids) == 2 ]]; }

@test "containers.conf: build_cache keeps the cache small by itself, behind a build's back" {
	have_image busybox
	mkdir -p ctx
	for i in 1 2 3; do step $i; done >ids
	printf '[build_cache]\nmax_used_space = "5MB"\n' >conf
	export CONTAINERS_CONF_OVERRIDE=$T/conf
	step 4 >>ids
	wait_for two_left
	diff <(tail -n 2 ids | sort) <(nameless | grep -xFf ids)
	# Nobody waits for it: neither who reads the id from a pipe, nor the session.
	printf '[build_cache]\nmin_free_space = "1000TB"\nreserved_space = "1MB"\nkeep_duration = "1h"\n' >conf
	step 5 >>ids
	sleep 1
	[[ $(nameless | grep -cxFf ids) == 3 ]]
	printf '[build_cache]\nmax_used_space = "lots"\nkeep_duration = "often"\n' >conf
	try step 5
	assert_success
	assert_stderr "Warning: containers.conf: build_cache.max_used_space: 'lots' is no size, ignoring
Warning: containers.conf: build_cache.keep_duration: 'often' is no duration, ignoring"
	# podman reads the file without a word.
	try oracle env CONTAINERS_CONF_OVERRIDE="$T/conf" podman "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod" images -q
	assert_success
	assert_stderr ''
}
