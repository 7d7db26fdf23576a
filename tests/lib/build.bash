# build.bash: what files about hoy-build load beside hoy.bash: a context, and podman and hoy building the same.

shopt -s extglob
corpus=$HOY_TESTS/fixtures/containerfiles

# The context that the corpus is about.
make_context() {
	mkdir -p ctx/tree/sub ctx/other ctx/links
	(
		cd ctx
		echo file >file
		echo two >two
		echo space >'with space'
		echo deep >tree/sub/deep
		echo a >tree/a
		ln tree/a tree/hard
		ln -s a tree/soft
		mkfifo tree/fifo
		chmod 700 tree/sub
		chmod 600 tree/a
		echo o >other/o
		ln -s file link
		ln -s tree dirlink
		ln -s ../file links/up
		ln -s /nowhere links/dangling
		echo s >setid
		chmod 6755 setid
		setfattr -n user.key -v value two
		find . -exec touch -h -d '2020-01-02 03:04:05' {} +
		tar -cf plain.tar -C tree a soft sub
		gzip -c plain.tar >gzip.tar.gz
		zstd -q plain.tar -o zstd.tar.zst
		xz -c plain.tar >xz.tar.xz
		bzip2 -c plain.tar >bzip2.tar.bz2
		tar --format=v7 -cf old.tar -C tree a soft sub
		echo 'no archive' | gzip -c >notar.gz
		tar -cf empty.tar -T /dev/null
		find . -exec touch -h -d '2020-01-02 03:04:05' {} +
	)
}

# Config, history and annotations of image $2 as $1 sees it, without what is another one each time.
settings() {
	"$1" image inspect "$2" | jq -S '.[0] | {Config, Author, Architecture, Os, ManifestType,
		Annotations: ((.Annotations // {}) | del(.["org.opencontainers.image.created"])),
		History: [.History[] | del(.created) | .created_by |= gsub("(?<how>ADD( --link)?) (file|multi):[0-9a-f]*"; .how)], Layers: (.RootFS.Layers | length)}'
}

# All of the tree of image $2: names, types, modes, owners, links, attributes, contents; times of what came from the context.
tree() {
	local dir
	dir=$("$1" image mount "$2")
	(
		cd "$dir"
		find . -mindepth 1 -printf '%P %y %m %U:%G %l %n\n' | sort
		find . -type f -newermt 2019-12-31 ! -newermt 2021-01-01 -printf '%P %T@\n' | sort
		getfattr -R -P -d -m 'user|capability' . 2>/dev/null
		find . -type f ! -path ./bin/busybox -print0 | sort -z | xargs -0 sha256sum
	)
	"$1" image umount "$2" >/dev/null
}

# same FILE [OPTION...]: both build it; what comes of it is the same.
same() {
	local name=${1##*/}
	oracle_podman build -q --no-cache --network none "${@:2}" -t "theirs-$name" -f "$1" ctx >/dev/null 2>err-theirs || { cat err-theirs; return 1; }
	hoy build -q --no-cache --network none "${@:2}" -t "ours-$name" -f "$1" ctx >/dev/null 2>err-ours || { cat err-ours; return 1; }
	settings oracle_podman "theirs-$name" >theirs.json
	settings oracle_podman "ours-$name" >ours.json
	diff theirs.json ours.json >difference && diff <(tree oracle_podman "theirs-$name") <(tree oracle_podman "ours-$name") >>difference || {
		echo "--- $name:"
		cat difference
		return 1
	}
}

# all_same GLOB [OPTION...]
all_same() {
	local file failed=0
	have_image busybox
	make_context
	for file in "$corpus"/$1; do
		same "$file" "${@:2}" || failed=1
	done
	return $failed
}
