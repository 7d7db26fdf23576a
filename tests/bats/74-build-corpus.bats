#!/usr/bin/env bats
# build: a corpus of Containerfiles, of one behaviour each or as in real life. With a time given, podman's image and hoy's are the
# same one: its id is the digest of the config, which has history and layers, and a layer's digest is that of names, types, modes,
# owners, times, links, attributes and contents.

load ../lib/hoy
load ../lib/build

cache=${HOY_FIXTURES:-/var/cache/hoy/fixtures}/corpus

# What podman makes of $1 depends on: itself, the base, the context, the file, how it is called.
key() { cat "$("$HOY_TESTS/oracle" path)/.hoy-oracle" "$(fixture busybox)/docker.tar" context.tar "$HOY_TESTS/corpus-build" "$1" | sha256sum | cut -d' ' -f1; }

# podman's answers to the files named in list, into theirs: from the cache, or all that are missing in one go.
ask_podman() {
	local file
	mkdir -p "$cache"
	: >missing
	while read -r file; do
		[[ -s $cache/$(key "$file") ]] || printf '%s\n' "$file" >>missing
	done <list
	oracle "$HOY_TESTS/corpus-build" "$T/missing" "$T/ctx" podman "${PODMAN_OPTS[@]}" >answers
	while read -r file; do
		grep "^${file##*/} 0 " answers >"$cache/.new.$$" && mv "$cache/.new.$$" "$cache/$(key "$file")"
	done <missing
	while read -r file; do
		cat "$cache/$(key "$file")" 2>/dev/null || echo "${file##*/} failed"
	done <list | sort >theirs
}

# The base and the context of all of them.
prepare() {
	have_image busybox
	make_context
	tar --format=gnu --sort=name --numeric-owner -C ctx -cf context.tar .
}

# The corpus's part $1 of $2.
part() {
	local name reason failed=0
	prepare
	find "$HOY_TESTS/corpus" "$corpus" -type f ! -name 'mount-*' ! -name 'differences*' | sort | awk -v p="$1" -v n="$2" 'NR % n == p' >list
	[[ $(wc -l <list) -gt 20 ]]
	ask_podman
	"$HOY_TESTS/corpus-build" list ctx "$HOY_BIN/hoy" "${HOY_OPTS[@]}" | sort >ours
	while read -r name; do
		reason=$(sed -n "s/^$name: //p" "$HOY_TESTS/corpus-differences")
		if cmp -s <(grep "^$name " theirs) <(grep "^$name " ours); then
			[[ -z $reason ]] || { echo "$name is the same: it needs no excuse"; failed=1; }
		elif [[ -z $reason ]]; then
			failed=1
			echo "$name: $(grep "^$name " theirs), ours $(grep "^$name " ours)"
			explain "$name"
		fi
	done < <(sed 's,.*/,,' list)
	return $failed
}

# Field by field.
explain() {
	local file opts=() line
	file=$(grep "/$1\$" list)
	read -r line <"$file"
	[[ $line != '# options: '* ]] || eval "opts=(${line#\# options: })"
	same "$file" --timestamp 1000000000 "${opts[@]}" || true
	diff <(oracle_podman image inspect "theirs-$1" | jq '.[0].RootFS') <(oracle_podman image inspect "ours-$1" | jq '.[0].RootFS') || true
}

@test "corpus, the first quarter: the same images" { part 0 4; }
@test "corpus, the second quarter" { part 1 4; }
@test "corpus, the third quarter" { part 2 4; }
@test "corpus, the fourth quarter" { part 3 4; }

@test "Containerfiles that a machine writes: the same images, and the same ones refused" {
	local name failed=0
	prepare
	mkdir files
	"$HOY_TESTS/fixtures/randomfiles.py" 1 60 files
	for name in files/*; do
		echo "$T/$name"
	done >list
	ask_podman
	"$HOY_TESTS/corpus-build" list ctx "$HOY_BIN/hoy" "${HOY_OPTS[@]}" 2>err | awk '{ print $1, $2 == 0 ? $2 " " $3 : "failed" }' | sort >ours
	[[ $(grep -c failed theirs) -lt 40 && $(wc -l <ours) == 60 ]]
	while read -r name; do
		grep -qxF "$(grep "^$name " ours)" theirs && continue
		failed=1
		echo "$name: $(grep "^$name " theirs), ours $(grep "^$name " ours)"
		cat "files/$name"
		grep "^$name:" err || true
	done < <(sed 's,.*/,,' list)
	[[ $failed == 0 ]]
}

@test "the corpus is large, and its excuses are about it" {
	[[ $(find "$HOY_TESTS/corpus" "$corpus" -type f | wc -l) -ge 200 && $(find "$HOY_TESTS/corpus" -name 'real-*' | wc -l) -ge 20 ]]
	while IFS=: read -r name reason; do
		[[ -e $HOY_TESTS/corpus/$name || -e $corpus/$name ]]
		[[ ${#reason} -gt 20 ]]
	done <"$HOY_TESTS/corpus-differences"
}
