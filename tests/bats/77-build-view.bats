#!/usr/bin/env bats
# What is seen of a build: the live view on a terminal, --progress=plain and json, -q.

load ../lib/hoy

# stages N TEXT...: a Containerfile with so many stages, each with a RUN of that text, and one that takes from all.
stages() {
	local n=$1 i
	mkdir -p ctx
	for ((i = 1; i <= n; i++)); do
		printf 'FROM busybox AS s%d\nRUN %s; : %d\n' "$i" "${*:2}" "$i"
	done >ctx/Containerfile
	echo 'FROM busybox' >>ctx/Containerfile
	for ((i = 1; i <= n; i++)); do
		printf 'COPY --from=s%d /bin/sh /x%d\n' "$i" "$i"
	done >>ctx/Containerfile
}

# on_terminal ROWS COLUMNS STEP... -- OPTION...: build there; "shown" is what it printed, "screen" what is seen of that at last.
on_terminal() {
	local rows=$1 columns=$2 steps=()
	shift 2
	while [[ $1 != -- ]]; do steps+=("$1"); shift; done
	TERM=xterm "$HOY_TESTS/fixtures/typist" "$rows" "$columns" "${steps[@]}" -- "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --network none "${@:2}" ctx >shown
	"$HOY_TESTS/fixtures/terminal" "$rows" "$columns" <shown >screen
}

@test "the live view: 1, 3, 10 stages; what runs is seen, and nothing of that is left" {
	have_image busybox
	for n in 1 3 10; do
		stages $n 'echo "hello from $$"; sleep 1.5'
		on_terminal 24 80 -- --no-cache --jobs 0
		# (One after the other needs no view.)
		[[ $n == 1 ]] || grep -a "=> s$n STEP 2/2: RUN echo \"hello from \$\$\"; sleep 1.5; : $n [0-9]s" shown
		not grep -a '^=>' screen
		[[ $(grep -c 'hello from [0-9]' screen) == $n ]]
		grep -x 'status 0' screen
		[[ $(grep -c ' STEP [0-9]*/' screen) == $((3 * n + 1 )) ]]
	done
	# Not all of it fits.
	grep -a '=> s10 ' shown
	on_terminal 6 40 -- --no-cache --jobs 0
	grep -a '^... and 6 more' shown
	not grep -a '^=>\|^\.\.\.' screen
	[[ $(grep -c 'hello from [0-9]' screen) == 10 ]]
}

@test "the live view: a terminal that becomes narrower and wider; no terminal that could" {
	have_image busybox
	stages 2 'sleep 3; echo ok'
	on_terminal 24 80 see='=> s2 STEP' 0.3:size=10x30 1.2:size=24x132 -- --no-cache --jobs 2
	grep -x 'status 0' screen
	[[ $(grep -c '^\[./3\] ok' screen) == 2 ]]
	for env in TERM=dumb TERM=; do
		"$HOY_TESTS/fixtures/typist" 24 80 -- env $env "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --network none --no-cache --jobs 2 --progress=tty ctx >shown
		not grep -a $'\e' shown
		grep -x $'\\[1/3\\] ok\r*' shown
	done
}

@test "the live view: what RUN prints neither moves the cursor nor stays coloured; as it is without a terminal" {
	have_image busybox
	cat >say <<-'END'
	printf 'a\033[2Jb\033[5Ac\033[?1049hd\033]0;title\ae\033[?25lf\033cg\n'
	printf '10%%\r55%%\r100%%\r\r\n'
	printf '\033[31mred\n'
	printf 'bell\abs\b\302\233Jx\ttab\n'
	printf 'no end of line'
	END
	stages 2 "sleep 1"
	sed -i '1a COPY say /\nRUN sh /say' ctx/Containerfile
	cp say ctx
	on_terminal 24 80 -- --no-cache --jobs 2
	for line in abcdefg '100%' red 'bellbsJx  tab' 'no end of line'; do
		grep -xF "[1/3] $line" screen
	done
	grep -aF $'\e[31mred\e[0m' shown
	hoy build --network none --no-cache --jobs 2 ctx >plain
	sh ./say >said
	echo >>said
	diff -a <(sed -n 's/^\[1\/3\] //p' plain | grep -a -A100 -F $'\e[2J' | head -n 5) said
}

@test "the live view: much output is whole and in order" {
	have_image busybox
	stages 3 'i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done'
	on_terminal 24 80 -- --no-cache --jobs 3
	for i in 1 2 3; do
		diff <(grep "^\[$i/4\] line" screen | sed 's/.*line //') <(seq 0 2999)
	done
	grep -x 'status 0' screen
}

@test "the live view: a stage that fails, Ctrl-C: the output is whole, the terminal clean" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox AS a\nRUN sleep 600\nFROM busybox AS b\nRUN sleep 1; for i in 1 2 3 4 5; do echo why $i >&2; done; exit 7\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n' >ctx/Containerfile
	on_terminal 24 80 -- --no-cache --jobs 2
	grep -x 'status 7' screen
	[[ $(grep -c '^\[2/3\] why [1-5]$' screen) == 5 ]]
	grep -a 'Error: Containerfile:4: .*exit status 7' shown
	not grep -a '^=>' screen
	stages 2 'echo up; sleep 600'
	on_terminal 24 80 see='] up' 1:'\x03' -- --no-cache --jobs 2
	not grep -a '^=>' screen
	not grep -x 'status 0' screen
	[[ -z $(hoy ps -aq --external) ]]
}

@test "--progress=json: these events, with these fields" {
	have_image busybox
	stages 2 'echo out; echo err >&2'
	for n in 1 2; do
		hoy build --network none --jobs 2 --progress=json --explain-cache -t j ctx >out 2>events-$n
	done
	# An object a line, each with what all have, and of the event no more and no less.
	cat >contract <<-'END'
	{"step": ["step", "steps", "text"], "output": ["stream", "text"], "cached": ["id", "text"], "image": ["id", "text"],
	 "commit": ["text"], "miss": ["text"]} as $of |
	["time", "platform", "stage", "stages", "name", "event"] as $all |
	(keys == (($all + $of[.event]) | sort)) and (.stage | type == "number" and . >= 1) and .stages == 3 and
	(.time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T")) and (.platform | test("^linux/")) and
	(if .id then .id | test("^[0-9a-f]{64}$") else true end) and
	(if .event == "step" then (.text | startswith("STEP \(.step)/\(.steps): ")) or .step <= .steps else true end)
	END
	jq -e "$(cat contract)" events-1 events-2 | sort -u | diff - <(echo true)
	diff <(jq -r .event events-1 events-2 | sort -u) <(printf '%s\n' cached commit image miss output step)
	diff <(jq -r '"\(.stage) \(.name)"' events-1 | sort -u) <(printf '%s\n' '1 s1' '2 s2' '3 2')
	[[ $(jq -r 'select(.event == "image").id' events-2 | tail -n 1) == "$(tail -n 1 out)" ]]
}

@test "--progress=plain, and -q: the id alone" {
	have_image busybox
	stages 2 'echo out; echo err >&2'
	hoy build --network none --no-cache --jobs 2 --progress=plain -t p ctx >out 2>err
	[[ $(grep -c '^\[[12]/3\] out$' out) == 2 && $(sort -u err) == $'[1/3] err\n[2/3] err' ]]
	not grep $'\e' out err
	for how in -q --progress=quiet --progress=none; do
		for jobs in 1 2; do
			try hoy build $how --network none --no-cache --jobs $jobs -t q ctx
			assert_success
			assert_stdout "$(hoy images -q --no-trunc q | sed s/sha256://)"
			[[ $(wc -l <<<"$stderr") == 2 ]] # what RUN prints to stderr
		done
	done
}
